package remote

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// hearing collects what an Observer is told.
type hearing struct {
	mu    sync.Mutex
	lines []string
	r     *Remote // which it calls, as an observer may
}

func (h *hearing) note(format string, args ...any) {
	if h.r != nil {
		_, _ = h.r.LastHeard("b") // would hang if a lock were held
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *hearing) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.lines
	h.lines = nil
	return out
}

func (h *hearing) observer() Observer {
	return Observer{
		Connected:  func(m core.Member) { h.note("connected %s", m.ID) },
		Terminated: func(m core.Member, reason error) { h.note("terminated %s: %v", m.ID, errors.Unwrap(reason) != nil) },
		Refused:    func(m core.Member, err *RefusedError) { h.note("refused by %s: %v", m.ID, err.Reason) },
		TurnedAway: func(id core.MemberID) { h.note("turned away %s", id) },
	}
}

// wantHeard waits until everything has been told, then compares.
func (h *hearing) wantHeard(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := h.take(); !slices.Equal(got, want) {
		t.Errorf("%s: heard %q, want %q", when, got, want)
	}
}

// TestObserverHearsEachOnce: the first link and the end of each stay, not the links between; also the
// end of a member that was never reached.
func TestObserverHearsEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		h := &hearing{}
		a := startNode(t, "a", func(c *Config) { c.Transport, c.Observer = m.Host("a"), h.observer() })
		h.r = a.r
		b := startNode(t, "b", onHost(m, "b"))
		never := core.Member{ID: "never", Address: "never:1", Status: core.Up, Protocol: Protocol()}
		b.r.SetMembers(topology(t, nil, a.member(), b.member()))
		a.r.SetMembers(topology(t, nil, a.member(), b.member(), never))
		h.wantHeard(t, "join", "connected b")
		m.Reset("a", "b")
		time.Sleep(10 * time.Second)
		h.wantHeard(t, "another link")
		a.r.SetMembers(topology(t, nil, a.member(), b.member()))
		h.wantHeard(t, "who was never reached leaves", "terminated never: true")
		a.r.SetMembers(topology(t, nil, a.member()))
		h.wantHeard(t, "leave", "terminated b: true")
		a.r.SetMembers(topology(t, nil, a.member(), b.member()))
		time.Sleep(10 * time.Second)
		h.wantHeard(t, "return", "connected b")
		a.r.Block("b", "b")
		time.Sleep(time.Minute) // b dials again and again
		heard := h.take()       // by two goroutines: the end of the endpoint, and the door
		slices.Sort(heard)
		if want := []string{"terminated b: true", "turned away b"}; !slices.Equal(heard, want) {
			t.Errorf("block: heard %q, want %q", heard, want)
		}
		a.r.Block("b")
		a.stop()
		a.stop()
		h.wantHeard(t, "stop after all have left")
	})
}

// TestObserverHearsTheEnd: Stop ends every endpoint that is left, and waits until that was told.
func TestObserverHearsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hearing{}
		n := NewMemory(MemoryConfig{})
		a := prepareNode(t, "a", func(c *Config) {
			c.Transport = n.Host("a")
			c.Observer = h.observer()
			c.Observer.Terminated = func(m core.Member, reason error) {
				time.Sleep(time.Second)
				h.note("terminated %s: %v", m.ID, errors.Is(reason, core.ErrStopped))
			}
		})
		row := func(id core.MemberID) core.Member {
			return core.Member{ID: id, Address: string(id) + ":1", Status: core.Up, Protocol: Protocol()}
		}
		a.r.SetMembers(topology(t, nil, a.member(), row("x"), row("y"), row("z")))
		a.stop()
		if got, want := h.take(), []string{"terminated x: true", "terminated y: true", "terminated z: true"}; !slices.Equal(got, want) {
			t.Errorf("heard %q when Stop returned, want %q", got, want)
		}
	})
}

// TestObserverHearsRefusals: a peer that refuses is told of once for each reason, and its Connected
// comes when it lets this member in.
func TestObserverHearsRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		h := &hearing{}
		a := startNode(t, "a", func(c *Config) { c.Transport, c.Observer = m.Host("a"), h.observer() })
		b := startNode(t, "b", onHost(m, "b"))
		a.r.SetMembers(topology(t, nil, a.member(), b.member()))
		time.Sleep(time.Minute)
		h.wantHeard(t, "not in the other's view", "refused by b: identity")
		b.r.SetMembers(topology(t, nil, a.member(), b.member()))
		time.Sleep(time.Minute)
		h.wantHeard(t, "in the view", "connected b")
		b.r.Block("a")
		time.Sleep(time.Minute)
		h.wantHeard(t, "blocked there", "refused by b: blocked")
	})
}

// TestObserverThatBreaks: a callback that panics or ends its goroutine costs no other.
func TestObserverThatBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hearing{}
		m := NewMemory(MemoryConfig{})
		a := startNode(t, "a", func(c *Config) {
			c.Transport, c.Observer = m.Host("a"), h.observer()
			c.Observer.Terminated = func(m core.Member, _ error) {
				h.note("terminated %s", m.ID)
				if m.ID == "x" {
					panic("observer")
				}
				if m.ID == "y" {
					runtime.Goexit()
				}
			}
		})
		var rows []core.Member
		for _, id := range []core.MemberID{"x", "y", "z"} {
			rows = append(rows, core.Member{ID: id, Address: string(id) + ":1", Status: core.Up, Protocol: Protocol()})
		}
		a.r.SetMembers(topology(t, nil, append(rows, a.member())...))
		a.r.SetMembers(topology(t, nil, a.member()))
		h.wantHeard(t, "leave", "terminated x", "terminated y", "terminated z")
		if countLines(a.log, "panic in the observer") != 1 {
			t.Errorf("log: %s", a.log.text())
		}
	})
}

// TestClientsAreNotObserved: a client that comes and goes is no member.
func TestClientsAreNotObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		h := &hearing{}
		a := startNode(t, "a", func(c *Config) { c.Transport, c.Observer = m.Host("a"), h.observer() })
		own := &hearing{}
		c := startNode(t, "c", func(c *Config) { c.Transport, c.Client, c.Observer = m.Host("c"), true, own.observer() })
		join(t, a, c)
		own.wantHeard(t, "the client's own", "connected a")
		c.stop()
		own.wantHeard(t, "the client's own end", "terminated a: true")
		h.wantHeard(t, "the member")
	})
}

// TestLastHeard: frames of either direction count, silence does not, and a new stay begins anew.
func TestLastHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		b.echo("echo")
		a.echo("echo")
		heard := func(when string, want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got, ok := a.r.LastHeard("b"); !ok || got != want {
				t.Errorf("%s: heard %v ago, %v; want %v", when, got, ok, want)
			}
		}
		heard("handshake", 0)
		time.Sleep(time.Minute) // with pings of the transport
		heard("silence", time.Minute)
		if _, err := a.ask(a.at(b, "echo"), str("x"), time.Second); err != nil {
			t.Fatal(err)
		}
		heard("an answer on the own link", 0)
		time.Sleep(time.Second)
		if err := b.at(a, "echo").Tell(str("x")); err != nil {
			t.Fatal(err)
		}
		heard("a message on the peer's link", 0)
		if _, ok := a.r.LastHeard("nobody"); ok {
			t.Error("heard of a member that is in no view")
		}
		a.r.SetMembers(topology(t, nil, a.member()))
		if _, ok := a.r.LastHeard("b"); ok {
			t.Error("heard of a member that left")
		}
		never := core.Member{ID: "n", Address: "n:1", Status: core.Up, Protocol: Protocol()}
		a.r.SetMembers(topology(t, nil, a.member(), never))
		if _, ok := a.r.LastHeard("n"); ok {
			t.Error("heard of a member that was never reached")
		}
	})
}
