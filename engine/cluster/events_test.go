package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
)

// heard collects events as words, without those of gossip.
type heard struct {
	mu    sync.Mutex
	names map[core.MemberID]string
	lines []string
}

// hear has h collect the events of n; members are called by the names.
func hear(n *cluster.Node) *heard {
	h := &heard{names: map[core.MemberID]string{n.ID(): "self"}}
	n.Subscribe(h.note)
	return h
}

func (h *heard) call(id core.MemberID, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[id] = name
}

func (h *heard) note(e cluster.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := e.(cluster.StateChanged); ok {
		return
	}
	h.lines = append(h.lines, h.text(e))
}

func (h *heard) text(e cluster.Event) string {
	what := strings.TrimPrefix(fmt.Sprintf("%T", e), "cluster.")
	switch e := e.(type) {
	case cluster.MemberJoined:
		return what + " " + h.names[e.Member.ID]
	case cluster.MemberRejoined:
		return what + " " + h.names[e.Member.ID] + " after " + h.names[e.Before]
	case cluster.MemberChanged:
		return what + " " + h.names[e.Member.ID] + " " + e.Before.String() + " " + e.Member.Status.String()
	case cluster.MemberLeft:
		return what + " " + h.names[e.Member.ID]
	case cluster.MemberUnavailable:
		return what + " " + h.names[e.Member.ID]
	case cluster.MemberAvailable:
		return what + " " + h.names[e.Member.ID]
	case cluster.MemberBlocked:
		return what + " " + h.names[e.Member.ID]
	case cluster.EndpointConnected:
		return what + " " + h.names[e.Member.ID]
	case cluster.EndpointTerminated:
		return what + " " + h.names[e.Member.ID]
	}
	return what
}

// take waits until everything was told, and gives what came since.
func (h *heard) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.lines
	h.lines = nil
	return out
}

func (h *heard) want(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := h.take(); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", when, got, want)
	}
}

// among reports what of got is about the member.
func among(got []string, member string) (out []string) {
	for _, line := range got {
		if strings.Contains(line+" ", " "+member+" ") {
			out = append(out, line)
		}
	}
	return out
}

// TestEventsOfALife follows members as one node sees them: each event once, in order, those of the first
// view too; also on the event stream.
func TestEventsOfALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: -1, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
			if i > 0 {
				cfg.Address = "127.0.0.1:7001" // whoever comes follows at one address
			}
		}})
		n := c.New()
		h := hear(n)
		if err := startIn(n, time.Minute); err != nil {
			t.Fatal(err)
		}
		h.want(t, "start", "MemberJoined self", "MemberChanged self joining up")
		stream := &heard{names: h.names}
		actor.SubscribeOf(n.Events(), stream.note)
		var before core.MemberID
		for round := range 3 {
			other := c.New()
			h.call(other.ID(), "other")
			if err := startIn(other, time.Minute); err != nil {
				t.Fatal(err)
			}
			c.Agree()
			got := h.take()
			if round > 0 {
				h.call(before, "before")
			}
			first := "MemberJoined other"
			if round > 0 {
				first = "MemberRejoined other after before"
				got[0] = strings.Replace(got[0], "after other", "after before", 1)
			}
			slices.Sort(got[1:]) // the first link may open before and after it is up
			if want := []string{first, "EndpointConnected other", "MemberChanged other joining up"}; !slices.Equal(got, want) && len(got) != 2 {
				t.Errorf("round %d: %q, want %q", round, got, want)
			}
			if again := stream.take(); len(again) != len(got) {
				t.Errorf("on the stream: %q, to subscribers %q", again, got)
			}
			if round%2 == 0 {
				if err := c.Stop(c.Len() - 1); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Second)
				h.want(t, "stop", "MemberChanged other up leaving", "MemberLeft other", "EndpointTerminated other")
			} else {
				c.Kill(c.Len() - 1)
				c.Agree()
				h.want(t, "kill", "MemberUnavailable other", "MemberLeft other", "EndpointTerminated other")
			}
			_ = stream.take()
			before = other.ID()
		}
		if err := c.Stop(0); err != nil {
			t.Error(err)
		}
		h.want(t, "the end", "MemberChanged self up leaving")
		n.Subscribe(func(cluster.Event) { t.Error("an event after the end") })
	})
}

// told is a provider that reports what a test says.
type told struct {
	core.Provider
	promises core.Promises
	mu       sync.Mutex
	tell     func(*core.View)
	self     core.Member
	rows     []core.Member // of others
	lineage  string
	epoch    uint64
}

func (s *told) Promises() core.Promises { return s.promises }

func (s *told) Join(_ context.Context, _ core.Env, self core.Member, report func(*core.View)) error {
	s.mu.Lock()
	s.self, s.tell = self, report
	s.mu.Unlock()
	s.report()
	return nil
}

func (s *told) Update(_ context.Context, self core.Member) error {
	s.mu.Lock()
	s.self = self
	s.mu.Unlock()
	s.report()
	return nil
}

func (s *told) Leave(context.Context) error { return nil }

// report tells the present rows as the next view.
func (s *told) report() {
	s.mu.Lock()
	rows := append(slices.Clone(s.rows), s.self)
	s.mu.Unlock()
	s.tellOnly(rows...)
}

// set makes rows the others, and reports.
func (s *told) set(rows ...core.Member) {
	s.mu.Lock()
	s.rows = rows
	s.mu.Unlock()
	s.report()
}

func row(id core.MemberID, address string) core.Member {
	return core.Member{ID: id, Address: address, Status: core.Up}
}

// tellOnly reports rows without this member's own.
func (s *told) tellOnly(rows ...core.Member) {
	s.mu.Lock()
	s.epoch++
	rec := core.ViewRecord{Members: rows}
	if s.promises.Ordered {
		rec.Lineage, rec.Epoch, rec.Revision = s.lineage, s.epoch, s.epoch
	}
	s.mu.Unlock()
	v, err := core.NewView(rec)
	if err != nil {
		panic(err)
	}
	s.tell(v)
}

// toldNode is one node whose provider reports what a test says.
func toldNode(t *testing.T, s *told, edit func(*cluster.Config, *cluster.Components)) (*cluster.Node, *heard) {
	t.Helper()
	hub := memory.NewHub()
	c := clustertest.Start(t, clustertest.Config{Members: -1, Node: func(_ int, cfg *cluster.Config, parts *cluster.Components) {
		parts.Provider, parts.Lookup = s, hub.Lookup()
		if edit != nil {
			edit(cfg, parts)
		}
	}})
	n := c.New()
	h := hear(n)
	if err := startIn(n, time.Minute); err != nil {
		t.Fatal(err)
	}
	h.take()
	return n, h
}

// orderedNode is toldNode with an order.
func orderedNode(t *testing.T) (*told, *cluster.Node, *heard) {
	t.Helper()
	s := &told{lineage: "one", promises: core.Promises{Ordered: true}}
	n, h := toldNode(t, s, nil)
	return s, n, h
}

// TestEventsOfMembersThatWereNeverReached have a beginning and an end like those of others.
func TestEventsOfMembersThatWereNeverReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, h := orderedNode(t)
		h.call("x", "x")
		s.set(row("x", "10.0.0.1:1"))
		time.Sleep(time.Minute)
		h.want(t, "come", "MemberJoined x", "MemberUnavailable x")
		s.set()
		h.want(t, "gone", "MemberLeft x", "EndpointTerminated x")
		time.Sleep(time.Minute)
		h.want(t, "later")
	})
}

// TestSlowSubscriber loses what does not fit, learns how many, and holds up nobody.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n, quick := orderedNode(t)
		var mu sync.Mutex
		var seen []cluster.Event
		release := make(chan struct{})
		sub := n.Subscribe(func(e cluster.Event) {
			if _, gossip := e.(cluster.StateChanged); gossip {
				return
			}
			mu.Lock()
			seen = append(seen, e)
			mu.Unlock()
			<-release
		})
		const rounds = 700 // two events each
		for range rounds {
			s.set(row("x", "10.0.0.1:1"))
			synctest.Wait()
			s.set()
			synctest.Wait()
		}
		if got := len(quick.take()); got < 2*rounds {
			t.Errorf("another subscriber got %d events", got)
		}
		lost := sub.Lost()
		if lost == 0 {
			t.Error("nothing was lost")
		}
		close(release)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		last, ok := seen[len(seen)-1].(cluster.EventsLost)
		if !ok || last.Count != lost || len(seen) < 500 || len(seen) > 1100 {
			t.Errorf("%d events, the last %+v; %d lost", len(seen), seen[len(seen)-1], lost)
		}
	})
}

// TestSubscribersThatFail hurt neither the node nor each other.
func TestSubscribersThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n, h := orderedNode(t)
		var calls [2]int
		n.Subscribe(func(cluster.Event) { calls[0]++; panic("no") })
		n.Subscribe(func(cluster.Event) { calls[1]++; runtime.Goexit() })
		var own *cluster.Subscription
		cancelled := 0
		own = n.Subscribe(func(cluster.Event) { cancelled++; own.Cancel() })
		h.call("x", "x")
		s.set(row("x", "10.0.0.1:1"))
		synctest.Wait()
		s.set()
		synctest.Wait()
		if got := among(h.take(), "x"); len(got) < 3 {
			t.Errorf("%q", got)
		}
		if calls[0] < 3 || calls[1] < 3 || cancelled != 1 {
			t.Errorf("calls %v, of the one who cancelled %d", calls, cancelled)
		}
		own.Cancel()
	})
}

// TestStopWithAHangingSubscriber is bounded, and says who hangs.
func TestStopWithAHangingSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memory.NewHub()
		n, err := cluster.New(cluster.Config{StopTimeout: 5 * time.Second}, cluster.Components{Provider: hub.Provider(), Lookup: hub.Lookup()})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		n.Subscribe(func(cluster.Event) { <-release })
		if err := startIn(n, time.Minute); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = n.Stop(t.Context())
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "event subscriber") || took > 5*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		close(release)
		if err := n.Stop(t.Context()); errors.Is(err, core.ErrInvalid) {
			t.Error(err)
		}
	})
}
