package actortest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/actortest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var echo = actor.FromFunc(func(c *actor.Context) {
	switch c.Message().(type) {
	case actor.Started, actor.Stopping, actor.Stopped:
	default:
		_ = c.Respond(c.Message())
	}
})

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := actortest.NewSystem(t, actor.Config{})
		p, other := actortest.NewProbe(t, s), actortest.NewProbe(t, s)
		defer other.Empty()
		ref := actortest.Spawn(t, s, echo)
		p.Send(ref, 1)
		p.Send(ref, "two")
		if got := actortest.Expect[int](p); got != 1 {
			t.Errorf("got %v; want 1", got)
		}
		if e := p.Next(); e.Message != "two" || e.Sender.PID() != ref.PID() {
			t.Errorf("got %+v", e)
		}
		if got := p.Ask(ref, 3); got != 3 {
			t.Errorf("answer %v; want 3", got)
		}
		p.Watch(ref)
		synctest.Wait()
		p.Empty()
		_ = ref.Stop()
		if got := actortest.Expect[*actor.Terminated](p); got.Who != ref.PID() {
			t.Errorf("got %+v", got)
		}
	})
}

// recorder is a testing.TB whose failures are looked at.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	text strings.Builder
}

type fatal struct{}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, format+"\n", args...)
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(fatal{})
}

func (r *recorder) Helper() {}

// failure is what f told the recorder.
func failure(r *recorder, f func()) string {
	func() {
		defer func() {
			if v := recover(); v != nil && v != (fatal{}) {
				panic(v)
			}
		}()
		f()
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	text := r.text.String()
	r.text.Reset()
	return text
}

func TestProbeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{TB: t}
		s := actortest.NewSystem(t, actor.Config{})
		p := actortest.NewProbe(r, s)
		if got := failure(r, func() { p.Next() }); !strings.Contains(got, "no message within 10s") {
			t.Errorf("Next without a message: %q", got)
		}
		_ = p.Ref().Tell("text")
		if got := failure(r, func() { actortest.Expect[int](p) }); !strings.Contains(got, "got string text; want a int") {
			t.Errorf("Expect of another type: %q", got)
		}
		_ = p.Ref().Tell("text")
		if got := failure(r, p.Empty); !strings.Contains(got, "want nothing") {
			t.Errorf("Empty with a message: %q", got)
		}
	})
}

type order struct {
	lines map[string][]int
	next  *order
	when  time.Time
	mu    sync.Mutex
}

func TestImmutable(t *testing.T) {
	changes := map[string]func(*order){
		"nothing":     nil,
		"a lock":      func(o *order) { o.mu.Lock(); o.mu.Unlock() }, //nolint:staticcheck // only its state matters
		"map entry":   func(o *order) { o.lines["tea"] = nil },
		"deep slice":  func(o *order) { o.lines["milk"][1]++ },
		"pointed at":  func(o *order) { o.next.next = nil },
		"unexported":  func(o *order) { o.when = o.when.Add(1) },
		"deleted":     func(o *order) { delete(o.lines, "milk") },
		"swapped":     func(o *order) { l := o.lines["milk"]; l[0], l[1] = l[1], l[0] },
		"own pointer": func(o *order) { o.next = o },
	}
	for name, change := range changes {
		for _, who := range []string{"actor", "sender"} {
			t.Run(name+" by the "+who, func(t *testing.T) {
				r := &recorder{TB: t}
				s := actortest.NewSystem(t, actor.Config{})
				entered, release := make(chan bool), make(chan bool)
				ref := actortest.Spawn(t, s, actortest.Immutable(r, actor.FromFunc(func(c *actor.Context) {
					switch m := c.Message().(type) {
					case string:
						entered <- true
						<-release
					case *order:
						if who == "actor" && change != nil {
							change(m)
						}
					}
				})))
				m := &order{lines: map[string][]int{"milk": {1, 2}}, when: time.Unix(0, 0)}
				m.next = &order{next: m}
				got := failure(r, func() {
					_ = ref.Tell("wait")
					<-entered
					_ = ref.Send(actor.Envelope{Message: m, Header: actor.Header{"k": "v"}})
					if who == "sender" && change != nil {
						change(m)
					}
					release <- true
					if err := ref.PoisonWait(t.Context()); err != nil {
						t.Error(err)
					}
				})
				harmless := name == "nothing" || name == "a lock"
				if harmless != (got == "") {
					t.Errorf("told %q", got)
				}
				if !harmless && who == "actor" && !strings.Contains(got, "changed the *actortest_test.order") {
					t.Errorf("told %q; want who did it", got)
				}
			})
		}
	}
}

func TestImmutableKeepsAGate(t *testing.T) {
	s := actortest.NewSystem(t, actor.Config{})
	p := *echo
	p.Gate = func(_ actor.Actor, e *actor.Envelope) (bool, error) { return e.Message == "taken", nil }
	probe := actortest.NewProbe(t, s)
	ref := actortest.Spawn(t, s, actortest.Immutable(t, &p))
	probe.Ask(ref, 1)
	probe.Send(ref, "taken")
	probe.Send(ref, 2)
	if got := actortest.Expect[int](probe); got != 2 {
		t.Errorf("got %v; want what the gate let through", got)
	}
}
