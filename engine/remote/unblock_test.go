package remote

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// TestUnblock lets a member in again whose block has ended: a stay of its own, and messages pass.
func TestUnblock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		h := &hearing{}
		a := startNode(t, "a", func(c *Config) { c.Transport, c.Observer = m.Host("a"), h.observer() })
		b := startNode(t, "b", onHost(m, "b"))
		b.r.SetMembers(topology(t, nil, a.member(), b.member()))
		a.r.SetMembers(topology(t, nil, a.member(), b.member()))
		h.wantHeard(t, "join", "connected b")
		a.r.Block("b", "elsewhere")
		time.Sleep(time.Minute)
		h.wantHeard(t, "block", "terminated b: true", "turned away b")
		a.r.Unblock("b", "elsewhere", "never blocked")
		time.Sleep(time.Minute) // b dials by its back-off
		h.wantHeard(t, "unblock", "connected b")
		if err := b.r.Connected(t.Context(), []core.MemberID{"a"}); err != nil {
			t.Error(err)
		}
		if ago, ok := a.r.LastHeard("b"); !ok || ago > time.Minute {
			t.Errorf("last heard %v ago, %v", ago, ok)
		}
		a.r.SetMembers(topology(t, nil, a.member()))
		h.wantHeard(t, "leave", "terminated b: true")
		a.r.Unblock("b") // who is not in the view is not let in by it
		synctest.Wait()
		if _, ok := a.r.LastHeard("b"); ok {
			t.Error("b has a link, and is not in the view")
		}
		a.stop()
		a.r.Unblock("b")
	})
}

// TestObserverHearsOfTheAbsent: a refused dial, not one that hangs.
func TestObserverHearsOfTheAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		h := &hearing{}
		a := startNode(t, "a", func(c *Config) {
			c.Transport = m.Host("a")
			c.Observer.Absent = func(m core.Member) { h.note("absent %s", m.ID) }
		})
		b := startNode(t, "b", onHost(m, "b"))
		a.r.SetMembers(topology(t, nil, a.member(), b.member()))
		b.r.SetMembers(topology(t, nil, a.member(), b.member()))
		m.Cut("a", "b")
		m.Cut("b", "a")
		m.Reset("a", "b")
		time.Sleep(time.Minute)
		h.wantHeard(t, "cut")
		m.Heal("a", "b")
		m.Heal("b", "a")
		time.Sleep(time.Minute)
		h.wantHeard(t, "healed")
		m.Kill("b")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := h.take(); len(got) == 0 || !slices.Contains(got, "absent b") {
			t.Errorf("killed: heard %q", got)
		}
	})
}
