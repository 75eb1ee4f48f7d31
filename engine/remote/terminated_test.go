package remote

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connector"
)

// watcher starts an actor that watches targets and tells of each end.
func (n *node) watcher(name string, targets ...*actor.Ref) <-chan *actor.Terminated {
	n.t.Helper()
	told := make(chan *actor.Terminated, 16)
	n.spawn(name, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case actor.Started:
			for _, ref := range targets {
				c.Watch(ref)
			}
		case *actor.Terminated:
			told <- m
		}
	})
	return told
}

func TestWatchAcrossMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		live := b.echo("live")
		told := a.watcher("w", a.at(b, "live"), a.at(b, "never"))
		first := <-told
		if first.Who.ID != "never" || first.Why != actor.TerminatedNotFound || first.Who.Member != "b" {
			t.Errorf("told %+v of a process that never was", first)
		}
		synctest.Wait()
		if err := live.Stop(); err != nil {
			t.Fatal(err)
		}
		second := <-told
		if second.Who != (core.PID{Address: b.addr, ID: "live", Member: "b"}) || second.Why != actor.TerminatedStopped {
			t.Errorf("told %+v", second)
		}
		if n := len(a.r.watches.out) + len(b.r.watches.in); n != 0 {
			t.Errorf("%d watches are remembered", n)
		}
	})
}

func TestUnwatchAcrossMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		live := b.echo("live")
		told := make(chan *actor.Terminated, 1)
		w := a.spawn("w", func(c *actor.Context) {
			switch m := c.Message().(type) {
			case actor.Started:
				c.Watch(a.at(b, "live"))
			case *wrapperspb.StringValue:
				c.Unwatch(a.at(b, "live"))
			case *actor.Terminated:
				told <- m
			}
		})
		synctest.Wait()
		if err := w.Tell(str("unwatch")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = live.Stop()
		synctest.Wait()
		if len(told) != 0 {
			t.Errorf("told %+v after Unwatch", <-told)
		}
	})
}

// TestWatchIsRepaired: whichever of the two links is lost at the very moment of the end, and whichever
// direction of it, the watcher is told, once.
func TestWatchIsRepaired(t *testing.T) {
	both := func(m *Memory, _, _ *node) { m.Reset("a", "b") }
	// only resets the link that from dialled.
	only := func(m *Memory, from, to *node) {
		m.mu.Lock()
		var hit []*memoryConn
		for c := range m.conns {
			if c.local == string(from.id) && string(c.ra) == to.addr {
				hit = append(hit, c)
			}
		}
		m.mu.Unlock()
		for _, c := range hit {
			c.reset()
		}
	}
	for name, tt := range map[string]struct {
		from, to string
		lose     func(m *Memory, a, b *node)
	}{
		"both links, the way there":  {"a", "b", both},
		"both links, the way back":   {"b", "a", both},
		"the watcher's link":         {"a", "b", only},
		"the link of who is watched": {"b", "a", func(m *Memory, a, b *node) { only(m, b, a) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := pair(t, nil)
				live := b.echo("live")
				told := a.watcher("w", a.at(b, "live"))
				time.Sleep(2 * connector.Lasting)
				m.Cut(tt.from, tt.to) // what tells of the end is on the way for ever
				_ = live.Stop()
				synctest.Wait()
				tt.lose(m, a, b)
				m.Heal(tt.from, tt.to)
				select {
				case got := <-told:
					if got.Who.ID != "live" || got.Why == actor.TerminatedUnreachable {
						t.Errorf("told %+v", got)
					}
				case <-time.After(time.Minute):
					t.Error("the watcher was never told")
				}
				time.Sleep(time.Minute)
				if len(told) != 0 {
					t.Errorf("told twice: %+v", <-told)
				}
			})
		})
	}
}

// TestWatchOfALeaver: the departure of a member ends the watches on it, and those that it held.
func TestWatchOfALeaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		b.echo("live")
		a.echo("watched")
		told := a.watcher("w", a.at(b, "live"))
		b.watcher("w", b.at(a, "watched"))
		synctest.Wait()
		if len(a.r.watches.in["b"]) != 1 {
			t.Fatalf("b holds %d watches", len(a.r.watches.in["b"]))
		}
		a.r.SetMembers(topology(t, nil, a.member()))
		got := <-told
		if got.Who.ID != "live" || got.Why != actor.TerminatedUnreachable {
			t.Errorf("told %+v", got)
		}
		if len(a.r.watches.in) != 0 || len(a.r.watches.out) != 0 {
			t.Error("watches of a leaver are remembered")
		}
	})
}

func TestStopAndPoisonAcrossMembers(t *testing.T) {
	_, a, b := pair(t, nil)
	for name, end := range map[string]func(*actor.Ref) error{"stop": (*actor.Ref).Stop, "poison": (*actor.Ref).Poison} {
		local := b.echo(name)
		if err := end(a.at(b, name)); err != nil {
			t.Fatal(err)
		}
		if err := local.Wait(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.echo("waited for")
	if err := a.at(b, "waited for").StopWait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestWatchLimit tries the bound of watches that one peer may hold.
func TestWatchLimit(t *testing.T) {
	w := newWatches()
	for i, want := range []bool{true, true, true, false} {
		if got := w.addIn("m", watchKey{"x", string(rune('a' + i))}, 3); got != want {
			t.Errorf("watch %d: %v", i, got)
		}
	}
	if !w.addIn("m", watchKey{"x", "a"}, 3) {
		t.Error("a watch that stands counts twice")
	}
	if !w.addIn("other", watchKey{"x", "a"}, 3) {
		t.Error("one peer's watches count for another")
	}
}

// TestWatchesBeyondTheLimit: who watches one process too many hears so, and a place that was given back
// is used again.
func TestWatchesBeyondTheLimit(t *testing.T) {
	for _, row := range []struct{ watched, refused int }{{2, 0}, {3, 0}, {4, 1}} {
		synctest.Test(t, func(t *testing.T) {
			_, a, b := pair(t, func(c *Config) { c.Limits.Watches = 3 })
			var targets []*actor.Ref
			for i := range row.watched {
				name := string(rune('a' + i))
				b.echo(name)
				targets = append(targets, a.at(b, name))
			}
			told := a.watcher("w", targets...)
			synctest.Wait()
			time.Sleep(time.Second)
			if len(told) != row.refused {
				t.Fatalf("%d watches: %d refused, want %d", row.watched, len(told), row.refused)
			}
			for range row.refused {
				if end := <-told; end.Why != actor.TerminatedUnwatchable || end.Who != targets[3].PID() {
					t.Errorf("told %+v", end)
				}
			}
			_ = targets[0].Stop()
			if end := <-told; end.Why != actor.TerminatedStopped {
				t.Errorf("told %+v", end)
			}
			again := a.watcher("again", targets[1], targets[row.watched-1])
			time.Sleep(time.Second)
			if row.refused == 1 && len(again) != 1 { // one place is free, two are wanted
				t.Errorf("%d of the later watches were refused, want 1", len(again))
			}
		})
	}
}

// TestWatchThatCannotBePlaced: neither a client nor a process ID beyond the bounds leaves a watcher in
// silence.
func TestWatchThatCannotBePlaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, nil)
		c := startNode(t, "c", func(cfg *Config) { cfg.Transport, cfg.Client = m.Host("c"), true })
		c.r.SetMembers(topology(t, nil, a.member(), b.member()))
		b.echo("live")
		for name, told := range map[string]<-chan *actor.Terminated{
			"a client":       c.watcher("w", c.at(b, "live")),
			"a long ID":      a.watcher("w", a.at(b, strings.Repeat("x", 2_000))),
			"a process of b": a.watcher("v", a.at(b, "live")),
		} {
			time.Sleep(time.Second)
			if name == "a process of b" {
				if len(told) != 0 {
					t.Errorf("%s: told %+v", name, <-told)
				}
				continue
			}
			select {
			case end := <-told:
				if end.Why != actor.TerminatedUnwatchable {
					t.Errorf("%s: told %+v", name, end)
				}
			default:
				t.Errorf("%s: the watcher hears nothing", name)
			}
		}
		synctest.Wait() // so that the counts may be read
		if n := len(a.r.watches.out["b"]) + len(c.r.watches.out); n != 1 {
			t.Errorf("%d watches are remembered, want 1", n)
		}
	})
}

// TestWatchFlood: watches that come and go leave nothing behind, and one that was never placed is not
// taken back from an actor.
func TestWatchFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		b.echo("live")
		to := a.at(b, "live")
		for i := range 5_000 {
			w := a.sys.Ref(core.PID{Address: a.addr, Member: a.id, ID: string(rune('a' + i%26))})
			_ = to.SendSystem(&actor.Watch{Watcher: w})
			_ = to.SendSystem(&actor.Unwatch{Watcher: w})
			_ = a.r.endpoints["b"].sendWatch("live", w.PID(), true) // of a member gone bad
		}
		time.Sleep(time.Second)
		synctest.Wait() // so that the counts may be read
		if n := len(a.r.watches.out) + len(b.r.watches.in); n != 0 {
			t.Errorf("%d watches are remembered", n)
		}
		if !a.r.endpoints["b"].linked.Load() {
			t.Error("the link has ended")
		}
	})
}
