package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

func testBackend(t *testing.T) *backend {
	t.Helper()
	cfg := Config{Name: "shop", Address: "consul.test:8500"}.withDefaults()
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return newBackend(cfg, c)
}

func TestSnapshot(t *testing.T) {
	b := testBackend(t)
	s, view := b.snapshot(api.KVPairs{
		{Key: "granary/shop/view", Value: []byte(`{"write_id":"w1"}`), ModifyIndex: 7},
		{Key: "granary/shop/lease/a", Session: "s1", LockIndex: 3},
		{Key: b.lease("b/c d%"), Session: "s2", LockIndex: 1},
		{Key: "granary/shop/lease/dead", LockIndex: 9},
		{Key: "granary/shop/lease/%zz", Session: "s3"},
		{Key: "granary/shop/note", Value: []byte("of an operator")},
		nil,
	}, 42)
	if s.Mark != "42" || string(s.Record) != `{"write_id":"w1"}` || view.ModifyIndex != 7 || writeID(view) != "w1" {
		t.Errorf("mark %q, record %q, view %+v", s.Mark, s.Record, view)
	}
	if got := fmt.Sprint(s.Leases); got != "map[a:3 b/c d%:1]" {
		t.Errorf("leases %s", got)
	}
	if s, view := b.snapshot(nil, 1); s.Record != nil || view != nil || writeID(view) != "" || len(s.Leases) != 0 {
		t.Errorf("of nothing: %+v, %+v", s, view)
	}
	if s, _ := b.snapshot(api.KVPairs{{Key: "granary/shop/view"}}, 1); s.Record == nil {
		t.Error("an empty record is there all the same, and no reason to begin anew")
	}
}

// topology is one from the rows before to the rows after.
func topology(t *testing.T, before, after []core.Member) core.Topology {
	t.Helper()
	view := func(members []core.Member, epoch uint64) *core.View {
		v, err := core.NewView(core.ViewRecord{Format: 1, Lineage: "l", Epoch: epoch, Revision: epoch, WriteID: fmt.Sprint("w", epoch), Members: members})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return core.Diff(view(before, 1), view(after, 2))
}

func members(n int) (ms []core.Member) {
	for i := range n {
		ms = append(ms, core.Member{
			ID: core.MemberID(fmt.Sprintf("%026d", i)), Address: fmt.Sprintf("10.0.%d.%d:7000", i/250, i%250),
			Kinds: []string{"Account", "Cart", "Inventory", "Order"}, Status: core.Up, Joined: 1 << 40, Protocol: core.Protocol{Min: 1, Max: 1},
		})
	}
	return ms
}

func TestLeaseOps(t *testing.T) {
	b := testBackend(t)
	b.session, b.owner = "s1", "me"
	me := core.Member{ID: "me", Address: "h:1", Status: core.Up}
	other, gone := me, me
	other.ID, other.Address, gone.ID, gone.Address = "other", "h:2", "gone", "h:3"
	next := topology(t, []core.Member{gone, other}, []core.Member{me})
	ops := b.leaseOps(viewkeeper.Snapshot{Leases: map[core.MemberID]uint64{"gone": 1}}, next)
	var got []string
	for _, op := range ops {
		got = append(got, fmt.Sprint(op.KV.Verb, " ", op.KV.Key, " ", op.KV.Session))
	}
	want := "check-session granary/shop/lease/me s1|delete granary/shop/lease/gone "
	if strings.Join(got, "|") != want {
		t.Errorf("operations %q, want %q", got, want)
	}
}

// A record that Consul would refuse is refused before it is sent, with the number of its members and what to do.
func TestRecordTooLarge(t *testing.T) {
	b := testBackend(t)
	size := func(n int) error {
		ms := members(n)
		next := topology(t, nil, ms)
		record, err := json.Marshal(next.View.Record())
		if err != nil {
			t.Fatal(err)
		}
		return b.fits(api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: b.view, Value: record}}}, n, len(record))
	}
	if err := size(1700); err != nil {
		t.Errorf("a cluster of 1,700: %v", err)
	}
	err := size(2500)
	if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "2500 members") || !strings.Contains(err.Error(), "txn_max_req_len") {
		t.Errorf("a cluster of 2,500: %v, want ErrInvalid with that number and the limit's name", err)
	}
	many := make(api.TxnOps, maxOps+1)
	for i := range many {
		many[i] = &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: "k"}}
	}
	if err := b.fits(many, 1, 1); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("%d operations: %v, want ErrInvalid", len(many), err)
	}
}

func TestFailures(t *testing.T) {
	c := testBackend(t).client
	for text, kind := range map[string]error{
		"Unexpected response code: 403 (ACL not found)":                                    core.ErrInvalid,
		"Unexpected response code: 403 (Permission denied)":                                core.ErrInvalid,
		"http: server gave HTTP response to HTTPS client":                                  core.ErrInvalid,
		"Unexpected response code: 400 (Client sent an HTTP request to an HTTPS server.)":  core.ErrInvalid,
		"tls: failed to verify certificate: x509: certificate signed by unknown authority": core.ErrInvalid,
		"remote error: tls: certificate required":                                          core.ErrInvalid,
		"Unexpected response code: 500 (No cluster leader)":                                core.ErrUnreachable,
		"dial tcp 127.0.0.1:1: connect: connection refused":                                core.ErrUnreachable,
		"anything else": core.ErrUnreachable,
	} {
		if err := c.failure(t.Context(), errors.New(text)); !errors.Is(err, kind) || !strings.Contains(err.Error(), "consul.test:8500") || !strings.Contains(err.Error(), text) {
			t.Errorf("%q became %v, want %v of the server", text, err, kind)
		}
	}
	if err := c.failure(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
