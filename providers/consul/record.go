package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// backend keeps the record of one cluster below granary/NAME/: view is the record, and lease/ID a key that the
// session of the member ID holds and that Consul removes with the session.
type backend struct {
	client *client
	prefix string
	view   string
	leases string
	ttl    time.Duration
	limit  int // bytes of a transaction

	mu      sync.Mutex // guards what follows
	checked bool       // the agent has said what it is
	session string     // the lease of this member; empty: none
	owner   core.MemberID
	pace    pace
}

func newBackend(cfg Config, c *client) *backend {
	prefix := "granary/" + cfg.Name + "/"
	return &backend{
		client: c, prefix: prefix, view: prefix + "view", leases: prefix + "lease/", ttl: cfg.TTL, limit: cfg.MaxRequest,
		pace: pace{step: 50 * time.Millisecond, burst: 10},
	}
}

// Watches is true: Consul ends sessions by itself.
func (b *backend) Watches() bool { return true }

// Read returns record and leases of one moment.
func (b *backend) Read(ctx context.Context) (viewkeeper.Snapshot, error) {
	s, _, err := b.read(ctx)
	return s, err
}

// read returns, beside what Read does, the pair that holds the record; nil: there is none.
func (b *backend) read(ctx context.Context) (viewkeeper.Snapshot, *api.KVPair, error) {
	var pairs api.KVPairs
	var index uint64
	err := b.client.call(ctx, func(ctx context.Context) error {
		all, meta, err := b.client.api.KV().List(b.prefix, b.client.query(ctx))
		if err != nil {
			return err
		}
		pairs, index = all, meta.LastIndex
		return whole(meta)
	})
	if err != nil {
		return viewkeeper.Snapshot{}, nil, err
	}
	s, view := b.snapshot(pairs, index)
	return s, view, nil
}

// snapshot sorts pairs out. A key that no session holds is no lease.
func (b *backend) snapshot(pairs api.KVPairs, index uint64) (s viewkeeper.Snapshot, view *api.KVPair) {
	s.Leases = map[core.MemberID]uint64{}
	s.Mark = strconv.FormatUint(index, 10)
	for _, pair := range pairs {
		if pair == nil {
			continue
		}
		if name, ok := strings.CutPrefix(pair.Key, b.leases); ok && pair.Session != "" {
			if id, err := url.PathUnescape(name); err == nil {
				s.Leases[core.MemberID(id)] = pair.LockIndex
			}
		}
		if pair.Key == b.view {
			s.Record, view = append([]byte{}, pair.Value...), pair
		}
	}
	return s, view
}

// writeID is that of a stored record; empty: there is none, or it cannot be read.
func writeID(view *api.KVPair) string {
	var r struct {
		WriteID string `json:"write_id"`
	}
	if view == nil || json.Unmarshal(view.Value, &r) != nil {
		return ""
	}
	return r.WriteID
}

// Write stores the record and ends the leases of those that leave, in one transaction, and where this member
// joins only if it holds its lease.
func (b *backend) Write(ctx context.Context, old string, next core.Topology, record []byte) error {
	s, view, err := b.read(ctx)
	if err != nil {
		return err
	}
	if writeID(view) != old || (view != nil) != (old != "") {
		return core.ErrConflict
	}
	set := &api.KVTxnOp{Verb: api.KVCAS, Key: b.view, Value: record}
	if view != nil {
		set.Index = view.ModifyIndex
	}
	ops := api.TxnOps{{KV: set}}
	ops = append(ops, b.leaseOps(s, next)...)
	if err := b.fits(ops, next.View.Len(), len(record)); err != nil {
		return err
	}
	var refused *api.TxnError
	err = b.client.call(ctx, func(ctx context.Context) error {
		done, answer, _, err := b.client.api.Txn().Txn(ops, (&api.QueryOptions{Datacenter: b.client.center}).WithContext(ctx))
		if err == nil && !done {
			refused = first(answer)
		}
		return err
	})
	switch {
	case err != nil || refused == nil:
		return err
	case refused.OpIndex == 0:
		return core.ErrConflict
	}
	return fmt.Errorf("%s: the session of this member has ended: %s: %w", b.client.server, refused.What, core.ErrUnreachable)
}

// first is the first error of a transaction that was rolled back.
func first(answer *api.TxnResponse) *api.TxnError {
	if len(answer.Errors) == 0 || answer.Errors[0] == nil {
		return &api.TxnError{What: "rolled back"}
	}
	return answer.Errors[0]
}

// leaseOps are what a write does to leases.
func (b *backend) leaseOps(s viewkeeper.Snapshot, next core.Topology) (ops api.TxnOps) {
	b.mu.Lock()
	session, owner := b.session, b.owner
	b.mu.Unlock()
	for _, m := range next.Joined {
		if m.ID == owner {
			ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCheckSession, Key: b.lease(m.ID), Session: session}})
		}
	}
	for _, m := range next.Left {
		if _, held := s.Leases[m.ID]; held {
			ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: b.lease(m.ID)}})
		}
	}
	return ops
}

func (b *backend) lease(id core.MemberID) string { return b.leases + url.PathEscape(string(id)) }

// maxOps is how many operations Consul takes in one transaction.
const maxOps = 64

// fits refuses a write that Consul would.
func (b *backend) fits(ops api.TxnOps, members, record int) error {
	if len(ops) > maxOps {
		return fmt.Errorf("%s: %d members with leases cannot leave in one step, at most %d: %w", b.client.server, len(ops)-1, maxOps-1, core.ErrInvalid)
	}
	body, err := json.Marshal(ops)
	if err == nil && len(body) >= b.limit {
		err = fmt.Errorf("%s: the view record of %d members has %d bytes, and the request that stores it %d; the servers take %d (Config.MaxRequest, txn_max_req_len): %w",
			b.client.server, members, record, len(body)+1, b.limit, core.ErrInvalid)
	}
	return err
}

// Await returns when something below the prefix is not as seen any more. The server answers by itself before a
// quarter of the TTL, when viewkeeper reads anyway.
func (b *backend) Await(ctx context.Context, seen viewkeeper.Snapshot) error {
	b.mu.Lock()
	delay := b.pace.delay(time.Now())
	b.mu.Unlock()
	if err := sleep(ctx, core.SystemClock{}, delay); err != nil {
		return err
	}
	index, err := strconv.ParseUint(seen.Mark, 10, 64)
	if err != nil {
		return fmt.Errorf("the mark is %q: %w", seen.Mark, core.ErrInvalid)
	}
	if index == 0 { // the server told none: there is nothing to wait for
		return sleep(ctx, core.SystemClock{}, b.ttl/10)
	}
	options := (&api.QueryOptions{Datacenter: b.client.center, WaitIndex: index, WaitTime: b.ttl / 5}).WithContext(ctx)
	_, _, err = b.client.api.KV().Keys(b.prefix, "", options)
	return b.client.failure(ctx, err)
}

var _ viewkeeper.Backend = (*backend)(nil)
