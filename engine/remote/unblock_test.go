package remote

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/remotepb"
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

// blocker is a process that has its peer blocked by the first message that it gets.
type blocker struct {
	block func()
	got   atomic.Int64
}

func (p *blocker) Send(core.PID, actor.Envelope) error {
	if p.got.Add(1) == 1 {
		p.block()
	}
	return nil
}

func (p *blocker) SendSystem(core.PID, actor.SystemMessage) error { return nil }

// TestBlockEndsABatch: of the frame that is being read when its peer is blocked, nothing more is delivered.
func TestBlockEndsABatch(t *testing.T) {
	p := &blocker{}
	t.Cleanup(func() { // the node has stopped: nobody reads any more
		if n := p.got.Load(); n != 1 {
			t.Errorf("%d messages of a frame were delivered, the first of which had its sender blocked", n)
		}
	})
	x := attacked(t, nil)
	p.block = func() { x.r.Block(x.raw.ID) }
	if _, err := x.sys.Register("blocker", p); err != nil {
		t.Fatal(err)
	}
	x.r.AllowRaw("blocker", stringType)
	s := x.link()
	s.send(x.batch("blocker", 0, func(b *remotepb.MessageBatch) {
		for range 50 {
			b.Envelopes = append(b.Envelopes, b.Envelopes[0])
		}
	}))
	s.end()
}
