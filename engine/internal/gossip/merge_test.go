package gossip_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// writer makes the history of one owner: every entry that a message could carry, by lines.
type writer struct {
	owner core.MemberID
	m     *one
	parts []gossip.Entry
}

// history lets owner write n times, and keeps deltas from random lines on the way.
func history(t *testing.T, rng *rand.Rand, owner core.MemberID, n int) *writer {
	w := &writer{owner: owner, m: newOne(t, owner, "o", "p", "reader")}
	base := uint64(0)
	for i := range n {
		if key := fmt.Sprint("k", rng.IntN(6)); i > 0 && rng.IntN(4) == 0 {
			w.m.do(gossip.Unset{Key: key})
		} else {
			w.m.set(key, fmt.Sprint("v", i))
		}
		if w.last() > base && (rng.IntN(3) == 0 || i == n-1) {
			w.parts = append(w.parts, w.since(base))
			base = w.last()
		}
		if rng.IntN(5) == 0 {
			w.parts = append(w.parts, w.since(0))
		}
	}
	return w
}

func (w *writer) last() uint64 { v := w.m.Keys(w.owner); return v[len(v)-1].Version }

// since is the entry of owner above a line, as of now.
func (w *writer) since(base uint64) gossip.Entry {
	e := gossip.Entry{Owner: w.owner, Base: base, Relayed: true}
	for _, v := range w.m.Keys(w.owner) {
		if v.Version > base {
			e.Values = append(e.Values, v)
		}
	}
	return e
}

// TestMerge: whatever the order, the number of copies and the packing of entries into messages, the
// same is held in the end, and it is what the owner holds: merging is commutative, associative and
// idempotent, and deltas equal the full state.
func TestMerge(t *testing.T) {
	for seed := range *seeds * 10 {
		rng := rand.New(rand.NewPCG(seed, 3))
		o, p := history(t, rng, "o", 1+rng.IntN(30)), history(t, rng, "p", 1+rng.IntN(30))
		full := newOne(t, "reader", "o", "p", "relay")
		full.receive("relay", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{o.since(0), p.since(0)}})
		parts := slices.Concat(o.parts, p.parts)
		for range 3 {
			deltas := newOne(t, "reader", "o", "p", "relay")
			deliver(deltas, rng, parts)
			for _, owner := range []core.MemberID{"o", "p"} {
				want := map[core.MemberID]*writer{"o": o, "p": p}[owner].m.Keys(owner)
				if got := deltas.Keys(owner); !slices.EqualFunc(got, want, sameValue) || !slices.EqualFunc(full.Keys(owner), want, sameValue) {
					t.Fatalf("seed %d: by deltas %v of %s, by full state %v, want %v", seed, got, owner, full.Keys(owner), want)
				}
			}
		}
	}
}

// deliver hands parts to m in a random order, some twice, several to a message, and all of it again.
func deliver(m *one, rng *rand.Rand, parts []gossip.Entry) {
	order := slices.Concat(parts, parts)
	for range rng.IntN(10) {
		order = append(order, parts[rng.IntN(len(parts))])
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for exchange := uint64(1); len(order) > 0; exchange++ {
		n := 1 + rng.IntN(min(4, len(order)))
		m.receive("relay", &gossip.Request{Exchange: exchange, Entries: order[:n]})
		order = order[n:]
	}
	for _, e := range parts {
		before := m.Stats()
		m.receive("relay", &gossip.Request{Entries: []gossip.Entry{e}})
		if after := m.Stats(); after.Merged != before.Merged || len(effects[gossip.Changed](m)) > 0 || len(effects[gossip.Withdrawn](m)) > 0 {
			m.t.Fatalf("the same entry again changes something: %v", m.out)
		}
	}
}

// TestDeparted: what is known of a member goes with it, and an old relay does not bring it back.
func TestDeparted(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c")
	relay := []gossip.Entry{{Owner: "c", Relayed: true, Values: values("k", 5)}}
	o.receive("b", &gossip.Request{Exchange: 1, Entries: relay})
	o.do(gossip.Installed{IDs: []core.MemberID{"a", "b"}})
	if r := effects[gossip.Removed](o); len(r) != 1 || r[0].Member != "c" {
		t.Errorf("effects %v, want c removed", o.out)
	}
	o.receive("b", &gossip.Request{Exchange: 2, Entries: relay})
	if _, found := o.Get("c", "k"); found || len(o.Members()) != 2 || o.Stats().Members != 2 {
		t.Errorf("c is back: %v", o.Members())
	}
	o.do(gossip.Installed{IDs: []core.MemberID{"a", "b", "c"}})
	if o.Keys("c") != nil {
		t.Errorf("c returns with %v", o.Keys("c"))
	}
	o.receive("b", &gossip.Request{Exchange: 3, Entries: relay})
	if _, found := o.Get("c", "k"); !found {
		t.Error("a member that returns is not served")
	}
}

// TestSlots: sizes stay where they are while members come and go.
func TestSlots(t *testing.T) {
	o := newOne(t, "a", "a", "b")
	for i := range 1_000 {
		o.do(gossip.Installed{IDs: []core.MemberID{"a", "b", member(i)}})
		o.receive(member(i), &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: member(i), Values: values("k", 5)}}})
		o.receive("b", &gossip.Request{Exchange: uint64(i + 1), Versions: []uint64{1, 2, 3}})
	}
	if s := o.Stats(); s.Members != 3 || s.Peers != 2 || s.Keys != 1 {
		t.Errorf("after 1000 members have come and gone: %+v", s)
	}
	if r := o.round("b"); len(r.Lines) != 1 {
		t.Errorf("%d lines to tell, want that of the one who came last", len(r.Lines))
	}
}

// TestSlotOfAnother: what a peer has acknowledged of a member that is gone says nothing of the one that comes in its
// place.
func TestSlotOfAnother(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c")
	o.receive("c", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "c", Values: values("k", 5)}}})
	r := o.round("b")
	wantTells(t, r.Entries, "c:k")
	o.answer("b", r)
	wantTells(t, o.round("b").Entries, "")
	o.do(gossip.Installed{IDs: []core.MemberID{"a", "b", "d"}})
	o.receive("d", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "d", Values: values("k", 3)}}})
	wantTells(t, o.round("b").Entries, "d:k")
}

// TestBlocked: nothing of a blocked member is kept or taken until it is let in again.
func TestBlocked(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c")
	own := &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "c", Values: values("k", 5)}}}
	o.receive("c", own)
	o.do(gossip.Block{IDs: []core.MemberID{"c", "a", "x"}})
	if r := effects[gossip.Removed](o); len(r) != 1 || r[0].Member != "c" {
		t.Errorf("effects %v, want c removed", o.out)
	}
	o.do(gossip.Installed{IDs: []core.MemberID{"a", "b", "c"}})
	if err := o.receive("c", own).Err; err == nil || len(o.Members()) != 2 {
		t.Errorf("a blocked member is heard: %v, members %v", err, o.Members())
	}
	o.do(gossip.Unblock{IDs: []core.MemberID{"c", "x"}})
	if err := o.receive("c", own).Err; err != nil || o.Keys("c") == nil {
		t.Errorf("c is not let in again: %v", err)
	}
}
