package consul

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
)

// FuzzServices reads what the health endpoint may answer. It is decoded by the client library, whose cost is bounded
// by the length of the answer that is read.
func FuzzServices(f *testing.F) {
	f.Add([]byte("[" + service("a", "10.0.0.1", "passing") + "]"))
	f.Add([]byte(`[{"Service":{"Address":"h","Port":70000},"Checks":[null]}]`))
	f.Add([]byte(`[{"Service":{"Address":"h","Port":1,"Meta":{"granary-status":"up","granary-weight":"-1"}},"Checks":[{}]},null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var services []*api.ServiceEntry
		if json.Unmarshal(data, &services) != nil {
			return
		}
		s := sight{cluster: "shop"}
		view, errs := s.next(services)
		for _, err := range errs {
			if !errors.Is(err, core.ErrInvalid) {
				t.Errorf("a complaint of no kind: %v", err)
			}
		}
		if again, _ := s.next(services); again != nil {
			t.Error("the same answer is told twice")
		}
		if view == nil {
			return
		}
		e := entry{service: "shop"}
		for m := range view.All() {
			r, err := e.registration(m)
			if err != nil {
				continue // somebody else's, of an ID that we would not write
			}
			if back, err := row("shop", &api.AgentService{ID: r.ID, Tags: r.Tags, Address: r.Address, Port: r.Port, Meta: r.Meta}); err != nil || back.Address != m.Address || back.Status != m.Status || back.Weight != m.Weight {
				t.Errorf("%+v came back as %+v: %v", m, back, err)
			}
		}
	})
}

// FuzzPairs reads what the key-value endpoint may answer.
func FuzzPairs(f *testing.F) {
	f.Add([]byte(`[{"Key":"granary/shop/view","Value":"eyJ3cml0ZV9pZCI6IncxIn0="},{"Key":"granary/shop/lease/a","Session":"s","LockIndex":3}]`))
	f.Add([]byte(`[null,{"Key":"granary/shop/lease/%zz","Session":"s"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var pairs api.KVPairs
		if json.Unmarshal(data, &pairs) != nil {
			return
		}
		b := newBackend(Config{Name: "shop"}.withDefaults(), nil)
		s, view := b.snapshot(pairs, 9)
		if (view == nil) != (s.Record == nil) || s.Mark != strconv.Itoa(9) {
			t.Errorf("record %q of %v, mark %q", s.Record, view, s.Mark)
		}
		if id := writeID(view); id != "" && !json.Valid(s.Record) {
			t.Errorf("a record that is no JSON has the write ID %q", id)
		}
		for id := range s.Leases {
			if !strings.HasPrefix(b.lease(id), b.leases) || strings.Contains(strings.TrimPrefix(b.lease(id), b.leases), "/") {
				t.Errorf("the lease of %q is %q", id, b.lease(id))
			}
		}
	})
}
