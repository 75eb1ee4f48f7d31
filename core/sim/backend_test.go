package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
)

// cluster is a backend with some members, and what each was told last.
type cluster struct {
	h     *sim.Heap
	net   *sim.Net
	b     *sim.Backend
	procs map[core.MemberID]*sim.Process
	ends  map[core.MemberID]*sim.Session
	saw   map[core.MemberID]*core.View
}

func newCluster(ordered bool) *cluster {
	h := &sim.Heap{}
	n := sim.NewNet(h, sim.Rand(1, "net"), time.Millisecond, 2*time.Millisecond)
	return &cluster{
		h: h, net: n, b: sim.NewBackend(h, n, sim.Rand(1, "backend"), sim.BackendConfig{
			Ordered: ordered, TTL: 2 * time.Second, Grace: 400 * time.Millisecond, Poll: 500 * time.Millisecond,
		}),
		procs: map[core.MemberID]*sim.Process{}, ends: map[core.MemberID]*sim.Session{}, saw: map[core.MemberID]*core.View{},
	}
}

func (c *cluster) join(id core.MemberID, machine string) {
	p := c.h.Start(machine, 0, 1)
	c.procs[id] = p
	c.ends[id] = c.b.Join(p, member(id, machine+":1"), func(v *core.View) { c.saw[id] = v })
}

func (c *cluster) run(d time.Duration) { c.h.Run(c.h.Now() + d) }

func (c *cluster) has(observer, id core.MemberID) bool {
	if c.saw[observer] == nil {
		return false
	}
	_, ok := c.saw[observer].Member(id)
	return ok
}

func both(t *testing.T, f func(t *testing.T, c *cluster, ordered bool)) {
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			c := newCluster(ordered)
			c.join("a", "n0")
			c.join("b", "n1")
			c.run(time.Second)
			if !c.has("a", "b") || !c.has("b", "a") || (c.saw["a"].Lineage() != "") != ordered {
				t.Fatalf("not formed: %v", c.saw)
			}
			f(t, c, ordered)
		})
	}
}

func TestBackendExpires(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, _ bool) {
		c.procs["b"].Kill()
		c.run(1900 * time.Millisecond)
		if !c.has("a", "b") {
			t.Error("gone before its time")
		}
		c.run(1500 * time.Millisecond)
		if c.has("a", "b") {
			t.Error("still there")
		}
	})
}

func TestBackendOutage(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, _ bool) {
		c.b.Fail()
		c.run(time.Minute)
		c.b.Repair()
		c.run(3 * time.Second)
		if c.b.View().Len() != 2 || !c.has("a", "b") {
			t.Errorf("an outage cost a member: %d are left", c.b.View().Len())
		}
	})
}

func TestBackendLosesItsData(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, ordered bool) {
		before := c.b.View()
		c.b.Wipe()
		c.run(time.Second)
		if c.b.View().Len() != 2 || ordered && (c.b.View().Lineage() == before.Lineage() || c.b.View().Epoch() <= before.Epoch()) {
			t.Errorf("%d members, lineage %q, epoch %d after %d", c.b.View().Len(), c.b.View().Lineage(), c.b.View().Epoch(), before.Epoch())
		}
	})
}

func TestBackendIsStale(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, _ bool) {
		c.b.Stale()
		c.join("c", "n2")
		c.run(time.Second)
		if c.has("a", "c") {
			t.Error("a stale read shows the newest")
		}
		c.b.Fresh()
		c.run(time.Second)
		if !c.has("a", "c") {
			t.Error("a fresh one does not")
		}
	})
}

func TestBackendFlaps(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, ordered bool) {
		if ordered {
			c.b.Silence("b")
			c.run(1200 * time.Millisecond)
			c.b.Hear("b")
			c.run(2 * time.Second)
			if !c.has("a", "b") {
				t.Error("lost by less than its lease")
			}
			return
		}
		c.b.Hide("a", "b")
		c.run(time.Second)
		if c.has("a", "b") || !c.has("b", "b") {
			t.Error("hidden from the wrong one")
		}
		c.b.Show("a", "b")
		c.run(time.Second)
		if !c.has("a", "b") {
			t.Error("still hidden")
		}
	})
}

func TestLeaveIsFinal(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, _ bool) {
		left := false
		c.b.Fail()
		c.ends["b"].Leave(func() { left = true })
		c.run(time.Second)
		if left {
			t.Error("left a backend that is down")
		}
		c.b.Repair()
		c.run(time.Second)
		if !left || c.has("a", "b") {
			t.Error("not left")
		}
		c.ends["b"].Update(member("b", "n1:1"))
		c.run(time.Second)
		if c.has("a", "b") {
			t.Error("back again")
		}
	})
}

func TestWhoFollowsAtAnAddress(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, ordered bool) {
		c.procs["b"].Kill()
		c.join("b2", "n1")
		c.run(200 * time.Millisecond)
		if !c.has("a", "b2") || c.has("a", "b") == ordered {
			t.Errorf("with an order the earlier row goes at once, without it stays: %v", c.has("a", "b"))
		}
	})
}

func TestUpdateAndSwap(t *testing.T) {
	c := newCluster(true)
	c.join("a", "n0")
	c.join("b", "n1")
	c.run(time.Second)
	old := c.b.View()
	row := member("b", "n1:1")
	row.Status = core.Leaving
	c.ends["b"].Update(row)
	c.ends["b"].Update(row)
	c.run(100 * time.Millisecond)
	if m, _ := c.saw["a"].Member("b"); m.Status != core.Leaving {
		t.Errorf("status %v", m.Status)
	}
	drop := func(v *core.View) core.ViewRecord {
		rec := v.Record()
		rec.Members = rec.Members[:1]
		return rec
	}
	c.ends["a"].Swap(old, drop(old))
	c.run(100 * time.Millisecond)
	if c.b.View().Len() != 2 {
		t.Error("swapped for a view that was not the present one")
	}
	c.ends["a"].Swap(c.b.View(), drop(c.b.View()))
	c.run(2 * time.Second)
	if c.b.View().Len() != 1 || c.has("b", "b") {
		t.Error("not swapped, or an evicted member came back")
	}
}

func TestRefreshIsBounded(t *testing.T) {
	c := newCluster(true)
	c.join("a", "n0")
	c.run(time.Second)
	steps := c.h.Steps()
	for range 1000 {
		c.ends["a"].Refresh()
	}
	c.run(400 * time.Millisecond)
	if n := c.h.Steps() - steps; n > 20 {
		t.Errorf("%d events", n)
	}
	c.ends["a"].End()
	steps = c.h.Steps()
	c.saw["a"] = nil
	c.run(time.Second)
	if c.saw["a"] != nil {
		t.Error("a report after the end")
	}
}
