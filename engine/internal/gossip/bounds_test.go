package gossip_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// TestMessageBounds: a message tells of MaxOwners members and has MaxBytes at most, own writes first,
// and everybody has a turn.
func TestMessageBounds(t *testing.T) {
	ids := []core.MemberID{"a", "z"}
	for i := range 30 {
		ids = append(ids, member(i))
	}
	o := newWith(t, gossip.Config{Self: "a", MaxOwners: 7, MaxBytes: 128 << 10}, ids...)
	for i := range 30 {
		v := gossip.Value{Key: "k", Version: 1, Message: core.Message{Type: "t", Data: make([]byte, 10_000)}}
		o.receive(member(i), &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: member(i), Values: []gossip.Value{v}}}})
	}
	told := map[core.MemberID]int{}
	for exchange := uint64(1); exchange < 20; exchange++ {
		for i := range 10 {
			o.do(gossip.Set{Key: fmt.Sprint("k", i), Value: core.Message{Type: "t", Data: make([]byte, 20_000)}})
		}
		r := o.receive("z", &gossip.Request{Exchange: exchange, Answered: exchange - 1}).Response
		if n := len(convert.AppendGossipResponse(nil, r)); len(r.Entries) > 7 || n > 130<<10 {
			t.Fatalf("%d members in %d bytes", len(r.Entries), n)
		}
		if r.Entries[0].Owner != "a" {
			t.Fatalf("own writes are not told first, but %s", tells(r.Entries))
		}
		for _, e := range r.Entries[1:] {
			told[e.Owner]++
		}
	}
	if len(told) != 30 {
		t.Errorf("%d members had a turn, want 30", len(told))
	}
}

// TestTurns: one who acknowledges nothing is told of everybody all the same, and not of the same few each time.
func TestTurns(t *testing.T) {
	ids := []core.MemberID{"a", "z"}
	for i := range 30 {
		ids = append(ids, member(i))
	}
	o := newWith(t, gossip.Config{Self: "a", MaxOwners: 7}, ids...)
	for i := range 30 {
		o.receive(member(i), &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: member(i), Values: values("k", 1)}}})
	}
	told := map[core.MemberID]bool{}
	for exchange := uint64(1); exchange <= 6; exchange++ {
		for _, e := range o.receive("z", &gossip.Request{Exchange: exchange}).Response.Entries {
			told[e.Owner] = true
		}
	}
	if len(told) < 30 {
		t.Errorf("%d members had a turn, want 30", len(told))
	}
}

// TestEntryInParts: an entry that is larger than a message arrives in the order of its versions.
func TestEntryInParts(t *testing.T) {
	a, b := newOne(t, "a", "a", "b"), newOne(t, "b", "a", "b")
	for i := range gossip.MaxKeys {
		a.do(gossip.Set{Key: fmt.Sprint(i), Value: core.Message{Type: "t", Data: make([]byte, gossip.MaxValue)}})
	}
	for parts := 1; ; parts++ {
		r := b.round("a")
		reply := a.receive("b", r)
		b.do(gossip.Answered{From: "a", Exchange: r.Exchange, Response: reply.Response})
		if got := b.Keys("a"); !slices.EqualFunc(got, a.Keys("a")[:len(got)], sameValue) {
			t.Fatal("what has arrived is not the oldest part")
		} else if len(got) == gossip.MaxKeys {
			t.Logf("4 MiB in %d parts", parts)
			return
		}
		if parts > gossip.MaxKeys {
			t.Fatalf("after %d parts %d keys have arrived", parts, len(b.Keys("a")))
		}
	}
}

// TestAllocations: a round in which nothing is new makes no copies of what is held.
func TestAllocations(t *testing.T) {
	var ids []core.MemberID
	for i := range 50 {
		ids = append(ids, member(i))
	}
	o := newOne(t, member(0), ids...)
	for _, id := range ids[1:] {
		o.receive(id, &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: id, Values: values("k", 1)}}})
	}
	exchange, versions := uint64(1), slices.Repeat([]uint64{1}, 50)
	ask := func() {
		exchange++
		o.receive(ids[1], &gossip.Request{Exchange: exchange, Answered: exchange - 1, View: 1, Versions: versions})
	}
	ask()
	if got := testing.AllocsPerRun(100, ask); got > 6 {
		t.Errorf("%v allocations to answer a request that brings nothing, want at most 6", got)
	}
}

// TestTwoAlone: two members, each of whom has the other cut off for an hour, find together at once.
func TestTwoAlone(t *testing.T) {
	w := newWorld(t, 9)
	nodes := cluster(w, 2)
	w.cut = func(core.MemberID, core.MemberID) bool { return true }
	nodes[0].set("k", text("v"))
	w.run(time.Hour, nil)
	w.cut = nil
	w.run(5*gossip.DefaultInterval, nil)
	if !has(nodes[1], nodes[0].id, "k", "v") {
		t.Error("a write of before the cut has not arrived")
	}
}
