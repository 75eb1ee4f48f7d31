package membership

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
)

// cluster is a backend whose truth changes at random: clean and killed restarts on few addresses.
type cluster struct {
	rand    *rand.Rand
	rows    map[core.MemberID]core.Member
	born    uint64
	history []core.ViewRecord
}

func (c *cluster) change(ordered bool) {
	c.born++
	address := fmt.Sprintf("h:%d", 1+c.rand.IntN(4))
	id := core.MemberID(fmt.Sprintf("m%d-%d", c.rand.IntN(1000), c.born))
	var there []core.MemberID
	for _, k := range slices.Sorted(maps.Keys(c.rows)) {
		if c.rows[k].Address == address {
			there = append(there, k)
		}
	}
	switch c.rand.IntN(3) {
	case 0: // leaves, or is found dead
		for _, k := range there {
			delete(c.rows, k)
		}
	case 1: // is replaced; the old row stays until somebody notices
		c.rows[id] = row(string(id), address, c.born)
		if ordered || c.rand.IntN(2) == 0 {
			for _, k := range there {
				delete(c.rows, k)
			}
		}
	case 2: // changes its status
		for _, k := range there {
			m := c.rows[k]
			m.Status = core.Status(1 + c.rand.IntN(3))
			c.rows[k] = m
		}
	}
	rec := core.ViewRecord{Members: slices.Collect(maps.Values(c.rows))}
	if ordered {
		rec.Lineage, rec.Epoch, rec.Revision, rec.WriteID = "L", c.born, c.born, fmt.Sprint(c.born)
	}
	c.history = append(c.history, rec)
}

// TestRandomSchedules feeds reports that repeat, skip and come late, and checks what must hold after
// every step and at the end.
func TestRandomSchedules(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprintf("ordered=%v", ordered), func(t *testing.T) {
			for seed := range uint64(2000) {
				schedule(t, ordered, seed)
			}
		})
	}
}

func schedule(t *testing.T, ordered bool, seed uint64) {
	c := &cluster{rand: rand.New(rand.NewPCG(seed, 1)), rows: map[core.MemberID]core.Member{"s": row("s", "h:0", 0)}}
	l := New(Config{Self: "s", Ordered: ordered})
	replay := core.Members{} // the members, by topologies alone
	var epoch uint64
	step := func(rec core.ViewRecord) {
		got := l.Step(view(t, rec))
		switch got.Outcome {
		case Evicted:
			t.Fatalf("seed %d: evicted: %s", seed, got.Reason)
		case Installed:
			left := core.NewMembers(got.Topology.Left...)
			replay = replay.Difference(left).Union(got.Topology.Joined).Union(got.Topology.Changed)
		}
		if l.View() == nil {
			return
		}
		if l.View().Epoch() < epoch {
			t.Fatalf("seed %d: the epoch fell from %d to %d", seed, epoch, l.View().Epoch())
		}
		epoch = l.View().Epoch()
		check(t, l, replay, ordered, seed)
	}
	for range 30 {
		c.change(ordered)
		switch c.rand.IntN(4) {
		case 0: // lost
		case 1: // an old report comes late; without an order only the provider can prevent that
			if ordered {
				step(c.history[c.rand.IntN(len(c.history))])
			}
		case 2: // repeated
			step(c.history[len(c.history)-1])
			step(c.history[len(c.history)-1])
		default:
			step(c.history[len(c.history)-1])
		}
	}
	step(c.history[len(c.history)-1])
	for _, m := range c.rows {
		if _, ok := l.View().Member(m.ID); !ok && !shadowed(c.rows, m) {
			t.Fatalf("seed %d: live member %v is missing in %v", seed, m.ID, ids(slices.Collect(l.View().All())))
		}
	}
}

// shadowed reports whether a newer member has the address of m.
func shadowed(rows map[core.MemberID]core.Member, m core.Member) bool {
	for _, o := range rows {
		if o.Address == m.Address && o.Joined > m.Joined {
			return true
		}
	}
	return false
}

func check(t *testing.T, l *List, replay core.Members, ordered bool, seed uint64) {
	t.Helper()
	addresses := map[string]core.MemberID{}
	for m := range l.View().All() {
		if other, taken := addresses[m.Address]; taken && !ordered {
			t.Fatalf("seed %d: %s and %s share %s", seed, other, m.ID, m.Address)
		}
		addresses[m.Address] = m.ID
		if r, ok := replay.Get(m.ID); !ok || r.Status != m.Status {
			t.Fatalf("seed %d: the topologies do not lead to the view: %v", seed, m.ID)
		}
	}
	if len(replay) != l.View().Len() {
		t.Fatalf("seed %d: topologies give %d members, the view has %d", seed, len(replay), l.View().Len())
	}
	if _, ok := l.View().Member("s"); !ok {
		t.Fatalf("seed %d: this member is not in its view", seed)
	}
}
