package cluster

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/group"
)

// TestTurnsTakeTurns has turns of one activation begin, wait for calls by several goroutines, and end,
// at random: never do two run code at once.
func TestTurnsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &activation{}
		var running atomic.Int32
		work := func() {
			if running.Add(1) > 1 {
				t.Error("two turns run at once")
			}
			time.Sleep(time.Millisecond)
			running.Add(-1)
		}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				f := &frame{a: a}
				for j := range 20 {
					f.begin()
					work()
					var calls sync.WaitGroup
					for k := range 1 + (i+j)%3 { // a fan-out of the handler
						calls.Go(func() {
							counted := f.leave(uint64(j + 1))
							time.Sleep(time.Duration(1+k) * time.Millisecond)
							f.back(uint64(j+1), counted)
						})
					}
					calls.Wait()
					work()
					f.end()
				}
			})
		}
		wg.Wait()
		if a.turns.held || a.turns.suspended != 0 || a.turns.last != nil {
			t.Errorf("left over: %+v", &a.turns)
		}
	})
}

// TestCallsLeftBehindByATurn end after their turn, in the time of the next ones; some only begin then.
func TestCallsLeftBehindByATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &activation{}
		a.outer.a = a
		var wg sync.WaitGroup
		for i := range 50 {
			a.outer.begin()
			left, number := make(chan struct{}), a.outer.number
			wg.Go(func() {
				counted := a.outer.leave(number)
				close(left)
				time.Sleep(time.Duration(i%7) * time.Millisecond)
				a.outer.back(number, counted)
			})
			<-left
			if i > 0 && a.outer.leave(number-1) {
				t.Error("a goroutine of the turn before gave this turn's right away")
			}
			time.Sleep(time.Duration(i%3) * time.Millisecond)
			a.outer.end()
		}
		wg.Wait()
		if a.turns.held || a.turns.suspended != 0 {
			t.Errorf("left over: %+v", &a.turns)
		}
		if a.outer.leave(a.outer.number) || a.turns.suspended != 0 || a.outer.strays() != 0 {
			t.Error("a call outside of any turn counts")
		}
	})
}

// TestCallsThatTellOfNoTurn leave the right to run with the turn, and have calls refused that could only
// wait for themselves.
func TestCallsThatTellOfNoTurn(t *testing.T) {
	a := &activation{}
	a.outer.a = a
	once, again := &grain.MethodSpec{}, &grain.MethodSpec{Reentrant: true}
	a.outer.begin()
	number := a.outer.strays()
	if !a.turns.held || !a.waits(once) || a.waits(again) {
		t.Errorf("held %v, waits %v and %v", a.turns.held, a.waits(once), a.waits(again))
	}
	a.outer.strayed(number)
	if a.waits(once) {
		t.Error("it waits after the call")
	}
	number = a.outer.strays()
	a.outer.end()
	a.outer.begin()
	a.outer.strayed(number) // a call of the turn before
	if a.waits(once) || a.outer.astray != 0 {
		t.Errorf("the next turn waits: %d", a.outer.astray)
	}
}

func testNode(t *testing.T) *Node {
	t.Helper()
	n := &Node{clock: core.SystemClock{}, group: group.New(), made: time.Now()}
	n.base, n.cancel = context.WithCancelCause(context.Background())
	t.Cleanup(func() { n.cancel(nil); _ = n.group.Wait(context.Background()) })
	return n
}

func TestContextOfATurn(t *testing.T) {
	type key struct{}
	setups := map[string]struct {
		parent   func() (context.Context, func())
		deadline time.Duration
		end      func(c *turnContext, cancelParent func())
		after    time.Duration
		want     error
	}{
		"own deadline": {func() (context.Context, func()) { return context.WithValue(context.Background(), key{}, 1), func() {} }, time.Second, nil, time.Second, context.DeadlineExceeded},
		"parent's deadline": {func() (context.Context, func()) {
			c, f := context.WithTimeout(context.WithValue(context.Background(), key{}, 1), time.Second)
			return c, f
		}, time.Hour, nil, time.Second, context.DeadlineExceeded},
		"parent's cancel": {func() (context.Context, func()) {
			c, f := context.WithCancel(context.WithValue(context.Background(), key{}, 1))
			return c, f
		}, time.Hour,
			func(_ *turnContext, cancel func()) { cancel() }, 0, context.Canceled},
		"end of the turn": {func() (context.Context, func()) { return context.WithValue(context.Background(), key{}, 1), func() {} }, time.Hour,
			func(c *turnContext, _ func()) { c.cancel(context.Canceled) }, 0, context.Canceled},
		"end of the node": {func() (context.Context, func()) { return context.WithValue(context.Background(), key{}, 1), func() {} }, time.Hour,
			func(c *turnContext, _ func()) { c.frame.a.node.cancel(core.ErrStopped) }, 0, context.Canceled},
	}
	for name, setup := range setups {
		for _, watch := range []string{"Err", "Done", "child", "AfterFunc"} {
			t.Run(name+" by "+watch, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := testNode(t)
					parent, cancel := setup.parent()
					defer cancel()
					c := &turnContext{parent: parent, frame: &frame{a: &activation{node: n}}}
					c.limit(n.clock.Now().Add(setup.deadline))
					defer c.cancel(context.Canceled)
					if c.Value(key{}) != 1 || c.Value(turnKey{}) != c {
						t.Error("values")
					}
					if at, ok := c.Deadline(); !ok || watch == "Err" && setup.end == nil && time.Until(at) != time.Second {
						t.Errorf("deadline %v, %v", at, ok)
					}
					if c.Err() != nil {
						t.Fatal(c.Err())
					}
					var child context.Context
					var done <-chan struct{}
					called := false
					switch watch {
					case "Done":
						done = c.Done()
					case "child":
						var stop func()
						child, stop = context.WithCancel(c)
						defer stop()
					case "AfterFunc":
						context.AfterFunc(c, func() { called = true })
						context.AfterFunc(c, func() { t.Error("a stopped one was called") })()
					}
					if setup.end != nil {
						setup.end(c, cancel)
					}
					time.Sleep(setup.after)
					synctest.Wait()
					switch { // before Err is asked, which looks by itself
					case done != nil:
						select {
						case <-done:
						default:
							t.Error("Done is open")
						}
					case watch == "child" && child.Err() != setup.want:
						t.Errorf("child: %v, want %v", child.Err(), setup.want)
					case watch == "AfterFunc" && !called:
						t.Error("the function was not called")
					}
					if c.Err() != setup.want {
						t.Errorf("%v, want %v", c.Err(), setup.want)
					}
					select {
					case <-c.Done():
					default:
						t.Error("Done is open afterwards")
					}
				})
			})
		}
	}
}

// TestSizeClasses holds the objects of which there are many to the sizes that the allocator has.
func TestSizeClasses(t *testing.T) {
	for name, row := range map[string]struct{ size, class uintptr }{
		"an activation":    {unsafe.Sizeof(activation{}), 192},
		"a context":        {unsafe.Sizeof(turnContext{}), 40},
		"fifty of them":    {unsafe.Sizeof(contextBatch{}), 2048 - 8}, // less the allocator's own header
		"a call's context": {unsafe.Sizeof(toldContext{}), 400},
	} {
		if row.size > row.class {
			t.Errorf("%s has %d bytes, want at most %d", name, row.size, row.class)
		}
	}
}

// TestContextThatNobodyAsked anything of while its turn ran is as ended as any other, and tells the same.
func TestContextThatNobodyAsked(t *testing.T) {
	type key struct{}
	n := testNode(t)
	self := core.Member{ID: n.id}
	n.self.Store(&self)
	var kept []*turnContext
	var activations []*activation
	for i := range 200 { // of several batches
		a := &activation{node: n, kind: &kind{Kind: grain.Kind{Name: "K"}}, key: strconv.Itoa(i)}
		f := &frame{a: a, number: 7}
		c := f.plainTurn(context.WithValue(context.Background(), key{}, i))
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		c.cancel(context.Canceled)
		kept, activations = append(kept, c), append(activations, a)
	}
	for i, c := range kept {
		told, _ := grain.FromContext(c)
		if c.Err() != context.Canceled || c.Value(key{}) != i || c.frame.a != activations[i] || told.Self != grain.NewSelf(activations[i]) {
			t.Fatalf("context %d: %v, %v, of %s", i, c.Err(), c.Value(key{}), c.frame.a.key)
		}
		select {
		case <-c.Done():
		default:
			t.Fatalf("context %d: Done is open", i)
		}
		called := make(chan struct{})
		context.AfterFunc(c, func() { close(called) })
		<-called
		child, cancel := context.WithCancel(c)
		cancel()
		if child.Err() != context.Canceled || len(c.chain()) != 1 || c.chain()[0] != activations[i].id() {
			t.Errorf("context %d: %v, chain %v", i, child.Err(), c.chain())
		}
		if _, ok := c.Deadline(); ok {
			t.Errorf("context %d has a deadline", i)
		}
		c.cancel(context.DeadlineExceeded)
		if c.Err() != context.Canceled {
			t.Errorf("context %d ended twice: %v", i, c.Err())
		}
	}
}

func TestGivingUpAPooledCall(t *testing.T) {
	call := &localCall{pool: &sync.Pool{}}
	first := call.state.Load()
	if !call.begin() || call.begin() || call.giveUp(first) {
		t.Fatal("a call that runs was given up")
	}
	call.release()
	if call.giveUp(first) {
		t.Fatal("the next use was given up by the caller of the first")
	}
	second := call.state.Load()
	if second == first || !call.giveUp(second) || call.begin() {
		t.Fatal("a call that was given up runs")
	}
}
