package disthash

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// A member is falsely taken for dead: it is in nobody's view but its own, which never changes. The
// others activate what it runs. On the first view in which it is back they stop that, all of it and
// nothing else, and say that they are settled only then; the member itself keeps what it has.
func TestFalselyRemovedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, stopTime = 90, 200 * time.Millisecond
		c, hosts := running(t, 3, keys, Config{})
		defer c.stop()
		victim, others := hosts[2], hosts[:2]
		kept := len(victim.activations)
		time.Sleep(time.Minute) // since the last change
		for _, h := range hosts {
			h.stopTime = func(core.Identity) time.Duration { return stopTime }
		}
		c.install(view(t, members(2)...), others...)
		for i := range keys {
			if _, err := hosts[i%2].resolve(t.Context(), identity(i)); err != nil {
				t.Fatal(err)
			}
		}
		if twice := c.twice(); twice != kept || kept == 0 {
			t.Fatalf("%d identities run twice, the victim runs %d", twice, kept)
		}

		back := time.Now()
		c.install(view(t, members(3)...), others...)
		for _, h := range others {
			answer, err := h.lookup.Handle(t.Context(), victim.self, core.Message{Type: typeSettledRequest})
			if err != nil || answer.Type != typeSettledResponse {
				t.Fatalf("%s: %v", h.self.ID, err)
			}
			if lost := h.lookup.state.Load().losers(h.self.ID, h.Activations()); len(lost) != 0 {
				t.Errorf("%s says that it is settled, and runs %d of others", h.self.ID, len(lost))
			}
			if slices.ContainsFunc(h.stops, func(why core.StopReason) bool { return why != core.StopMoved }) {
				t.Errorf("%s stopped as %v", h.self.ID, h.stops)
			}
		}
		if took := time.Since(back); took < stopTime || took > 2*stopTime {
			t.Errorf("it took %v, a stop takes %v", took, stopTime)
		}
		if twice, stopped := c.twice(), len(others[0].stops)+len(others[1].stops); twice != 0 || stopped != kept {
			t.Errorf("%d identities still run twice; %d were stopped, want %d", twice, stopped, kept)
		}
		if len(victim.stops) != 0 || len(victim.activations) != kept {
			t.Errorf("the victim stopped %d and runs %d of %d", len(victim.stops), len(victim.activations), kept)
		}
		for i := range keys { // and everybody finds the one that is left
			p, err := hosts[i%3].resolve(t.Context(), identity(i))
			if owner, _ := victim.lookup.Owner(identity(i)); err != nil || p.PID.Member != owner.ID {
				t.Errorf("%v is found at %q, %v; its owner is %q", identity(i), p.PID.Member, err, owner.ID)
			}
		}
	})
}

// twice counts the identities that run at more than one member.
func (c *fakeCluster) twice() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.running {
		if len(at) > 1 {
			n++
		}
	}
	return n
}
