package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

// script steps a Reducer and its Events, and writes down what comes out.
type script struct {
	*tester
	e *Events
}

func newScript(t *testing.T, cfg ReducerConfig) *script {
	t.Helper()
	return &script{tester: newTester(t, cfg), e: NewEvents(cfg.Self)}
}

func text(events []Event) string {
	var out []string
	for _, e := range events {
		s := fmt.Sprintf("%v %s", e.Type, e.Member.ID)
		if e.Before != "" {
			s += " after " + string(e.Before)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func (s *script) want(what string, in any, want string) {
	s.t.Helper()
	n, ok := in.(Notice)
	if !ok {
		n = Applied{Effect: in.(Effect)}
	}
	if got := text(s.e.Step(n, nil)); got != want {
		s.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestEventsOfAStay(t *testing.T) {
	s := newScript(t, unordered("s", DefaultGrace))
	s.want("first view", s.report(self, b), "joined b, joined s")
	s.want("a link opens", EndpointUp{"b"}, "endpoint connected b")
	s.want("another link", EndpointUp{"b"}, "")
	s.want("suspected", Suspected{"b"}, "unavailable b")
	s.want("suspected again", Suspected{"b"}, "")
	s.want("missing too", s.report(self), "")
	s.want("not suspected, but missing", Cleared{"b"}, "")
	s.want("reported again", s.report(self, b), "available b")
	s.want("cleared again", Cleared{"b"}, "")
	s.want("missing", s.report(self), "unavailable b")
	s.want("gone", s.after(DefaultGrace).step(Tick{}), "left b")
	s.want("its links end", EndpointDown{"b"}, "endpoint terminated b")
	s.want("again", EndpointDown{"b"}, "")
	s.want("late word of it", Suspected{"b"}, "")
	s.want("it returns", s.report(self, b), "joined b")
	s.want("its link opens", EndpointUp{"b"}, "endpoint connected b")
	s.want("its links end", EndpointDown{"b"}, "endpoint terminated b")
}

func TestEventsOfAMemberThatWasNeverReached(t *testing.T) {
	s := newScript(t, unordered("s", 0))
	s.want("it comes", s.report(self, b), "joined b, joined s")
	s.want("it dies", s.report(self), "left b")
	s.want("its endpoint ends", EndpointDown{"b"}, "endpoint terminated b")
}

func TestEventsOfFollowers(t *testing.T) {
	s := newScript(t, unordered("s", DefaultGrace))
	s.want("first", s.report(self, b), "joined b, joined s")
	s.want("followed at once", s.report(self, row("n", "h:1", 9)), "left b, blocked b, rejoined n after b")
	s.want("the old links end", EndpointDown{"b"}, "endpoint terminated b")
	s.want("leaves", s.report(self, leaving(row("n", "h:1", 9))), "")
	s.want("left", s.report(self), "left n")
	s.want("followed later", s.report(self, row("o", "h:1", 10)), "rejoined o after n")
	s.want("elsewhere", s.report(self, row("o", "h:1", 10), row("p", "h:7", 11)), "joined p")

	s = newScript(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}})
	s.want("ordered", s.ordered(stored("L", 2, self, b)), "joined b, joined s")
	s.want("both are listed", s.ordered(stored("L", 3, self, b, row("n", "h:1", 9))), "blocked b, rejoined n after b")
	s.want("its endpoint ends first", EndpointDown{"b"}, "endpoint terminated b")
	s.want("then its row goes", s.ordered(stored("L", 4, self, row("n", "h:1", 9))), "left b")
}

func TestEventsThatComeEarly(t *testing.T) {
	s := newScript(t, unordered("s", 0))
	s.want("a link before the view", EndpointUp{"b"}, "")
	s.want("the view", s.report(self, b), "joined b, endpoint connected b, joined s")
	s.want("a link", EndpointUp{"c"}, "")
	s.want("and its end", EndpointDown{"c"}, "")
	s.want("the view", s.report(self, b, c), "joined c")
	s.want("a link to itself", EndpointUp{"s"}, "")
}

func TestEventsOfBans(t *testing.T) {
	s := newScript(t, unordered("s", 0))
	s.want("first", s.report(self, b), "joined b, joined s")
	s.want("banned", s.step(Ban{ID: "b", For: time.Minute}), "left b, blocked b")
	s.want("a stranger", s.step(Ban{ID: "x", For: time.Minute}), "blocked x")
	s.want("served again", s.after(time.Minute).step(Tick{}), "joined b")
	s.want("this member", s.step(Ban{ID: "s", From: "b", For: time.Minute}), "self accused s")
	s.want("the votes say so too", Self{What: SelfAccused}, "")
	s.want("no more", s.after(time.Minute).step(Tick{}), "self absolved s")
}

func TestEventsOfItself(t *testing.T) {
	s := newScript(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}})
	s.want("first", s.ordered(stored("L", 2, self, b)), "joined b, joined s")
	s.want("well all along", Self{What: SelfWell}, "")
	s.want("late", Self{What: SelfSick, Reason: "why"}, "self sick s")
	s.want("late still", Self{What: SelfSick}, "")
	s.want("in time", Self{What: SelfWell}, "self well s")
	e := s.ordered(stored("L", 3, b))
	s.want("out", e, "self evicted s")
	s.want("out twice", e, "")
	if got := s.e.Step(Suspected{"s"}, nil); got != nil {
		t.Errorf("it suspects itself: %v", text(got))
	}
}

func TestEventsRememberTheEpochAndTheReason(t *testing.T) {
	s := newScript(t, ReducerConfig{Config: Config{Self: "s", Ordered: true}})
	s.e.Step(Applied{s.ordered(stored("L", 7, self, b))}, nil)
	got := s.e.Step(Self{What: SelfSick, Reason: "why"}, nil)
	if len(got) != 1 || got[0].Epoch != 7 || got[0].Reason != "why" || got[0].Member.Address != "h:9" {
		t.Errorf("%+v", got)
	}
}

func TestEventsForgetTheOldest(t *testing.T) {
	e := NewEvents("s")
	for i := range 3 * kept {
		e.Step(EndpointUp{core.MemberID(fmt.Sprint("x", i))}, nil)
		e.Step(Applied{Effect{Blocked: []core.MemberID{core.MemberID(fmt.Sprint("y", i))}}}, nil)
	}
	if len(e.by) > kept || len(e.gone) > kept {
		t.Errorf("%d and %d are remembered, at most %d", len(e.by), len(e.gone), kept)
	}
}

// stays checks the events of every member against the order that Type promises, for random schedules of
// a Reducer, a detector that guesses, and a remote that tells as the engine's does.
func TestEventsInAnyScheduleAreInOrder(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 5))
		c := &cluster{rand: r, rows: map[core.MemberID]core.Member{"s": row("s", "h:0", 0)}}
		s := newScript(t, unordered("s", []time.Duration{0, DefaultGrace}[r.IntN(2)]))
		w := &watcher{t: t, seed: seed, listed: map[core.MemberID]bool{}, down: map[core.MemberID]bool{}, open: map[core.MemberID]int{}, linked: map[core.MemberID]bool{}}
		for range 40 {
			c.change(false)
			effect := s.after(time.Duration(r.IntN(1500)) * time.Millisecond).report(c.history[len(c.history)-1].Members...)
			w.see(s.e.Step(Applied{effect}, nil))
			if len(s.r.list.retired.ids) > 0 && r.IntN(2) == 0 {
				effect = s.step(Ban{ID: sorted(s.r.list.retired.ids)[0], For: time.Second})
				w.see(s.e.Step(Applied{effect}, nil))
			}
			for _, id := range sorted(w.open) { // the remote: Up at most once a stay, Down once it has left
				switch n := r.IntN(4); {
				case n == 0 && !w.linked[id] && w.listed[id]:
					w.see(s.e.Step(EndpointUp{id}, nil))
				case n < 2 && !w.listed[id]:
					w.see(s.e.Step(EndpointDown{id}, nil))
				case n == 2:
					w.see(s.e.Step(Suspected{id}, nil))
				case n == 3:
					w.see(s.e.Step(Cleared{id}, nil))
				}
			}
		}
		for _, id := range sorted(w.open) {
			for w.open[id] > 0 && !w.listed[id] {
				w.see(s.e.Step(EndpointDown{id}, nil))
			}
		}
		for m := range s.r.View().All() {
			if !w.listed[m.ID] {
				t.Fatalf("seed %d: %s never joined", seed, m.ID)
			}
			delete(w.listed, m.ID)
		}
		if len(w.listed) > 0 {
			t.Fatalf("seed %d: %v never left", seed, sorted(w.listed))
		}
	}
}

// watcher is a subscriber that complains of what is told twice or out of order.
type watcher struct {
	t                    *testing.T
	seed                 uint64
	listed, down, linked map[core.MemberID]bool
	open                 map[core.MemberID]int // stays whose end of links is yet to come
}

func (w *watcher) see(events []Event) {
	w.t.Helper()
	for _, e := range events {
		id, ok := e.Member.ID, true
		switch e.Type {
		case Joined, Rejoined:
			ok = !w.listed[id] && (e.Type == Rejoined) == (e.Before != "")
			w.listed[id] = true
			if id != "s" {
				w.open[id]++
			}
		case Left:
			ok = w.listed[id]
			delete(w.listed, id)
			delete(w.down, id)
		case Unavailable, Available:
			ok = w.listed[id] && w.down[id] == (e.Type == Available)
			w.down[id] = e.Type == Unavailable
		case EndpointConnected:
			ok = w.open[id] > 0 && !w.linked[id]
			w.linked[id] = true
		case EndpointTerminated:
			ok = w.open[id] > 0
			w.open[id]--
			delete(w.linked, id)
		}
		if !ok {
			w.t.Fatalf("seed %d: %v is out of order in %s", w.seed, text([]Event{e}), text(events))
		}
	}
}

func TestTypesHaveNames(t *testing.T) {
	seen := []string{"unknown"}
	for k := Joined; k <= SelfEvicted; k++ {
		if slices.Contains(seen, k.String()) {
			t.Errorf("%d is %q", k, k)
		}
		seen = append(seen, k.String())
	}
	if Type(99).String() != "unknown" {
		t.Error("99 has a name")
	}
}

// TestSuspicionEndsWithTheStay: who comes back is no suspect, and may become one again.
func TestSuspicionEndsWithTheStay(t *testing.T) {
	s := newScript(t, unordered("s", 0))
	s.want("first view", s.report(self, b), "joined b, joined s")
	s.want("suspected", Suspected{"b"}, "unavailable b")
	s.want("gone", s.report(self), "left b")
	s.want("it returns", s.report(self, b), "joined b")
	s.want("suspected again", Suspected{"b"}, "unavailable b")
}

// TestMembersAreNotForgotten, however many strangers are heard of.
func TestMembersAreNotForgotten(t *testing.T) {
	s := newScript(t, unordered("s", 0))
	s.want("first view", s.report(self, b), "joined b, joined s")
	for i := range 2 * kept {
		s.want("a stranger", EndpointUp{core.MemberID(fmt.Sprint("x", i))}, "")
	}
	s.want("gone", s.report(self), "left b")
}
