package actor_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/engine/actor"
)

// Any number of actors that block hold up nobody, whoever woke whom.
func TestBlockingCodeStarvesNobody(t *testing.T) {
	s := newSystem(t)
	const blocked = 300
	entered, release := make(chan any, blocked), make(hold)
	for range blocked {
		_ = spawn(t, s, blocker(entered, nil)).Tell(release)
	}
	for range blocked { // all of them run at once
		recv(t, entered)
	}
	began := time.Now()
	for range 100 {
		if got := ask(t, spawn(t, s, echo), 1); got != 1 {
			t.Fatal(got)
		}
	}
	if d := time.Since(began); d > time.Minute {
		t.Errorf("100 asks took %v beside %d blocked actors", d, blocked)
	}
	close(release)
}

// What an actor woke by its Context runs even if the actor then blocks, waiting for just that.
func TestWokenByAnActorThatBlocks(t *testing.T) {
	s := newSystem(t)
	done := make(chan struct{})
	closer := spawn(t, s, func(c *actor.Context) {
		if c.Message() == "close" {
			close(done)
		}
	})
	ref := spawn(t, s, func(c *actor.Context) {
		if c.Message() == "go" {
			_ = c.Tell(closer, "close")
			<-done // not through the Context: the runtime cannot know
			_ = c.Respond("ok")
		}
	})
	actor.Settle(closer) // else it has a worker already
	ask(t, ref, "go")
}

func TestWokenByAnActorThatBlocksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		done := make(chan struct{})
		closer := spawn(t, s, func(c *actor.Context) {
			if c.Message() == "close" {
				close(done)
			}
		})
		ref := spawn(t, s, func(c *actor.Context) {
			if c.Message() == "go" {
				_ = c.Tell(closer, "close")
				<-done
				_ = c.Respond("ok")
			}
		})
		synctest.Wait()
		began := time.Now()
		ask(t, ref, "go")
		if d := time.Since(began); d > time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// An actor that always has messages does not keep the others from theirs.
func TestBusyActorsAreFair(t *testing.T) {
	s := newSystem(t)
	stop := make(chan struct{})
	for range 4 * runtime.GOMAXPROCS(0) {
		spin := spawn(t, s, func(c *actor.Context) {
			select {
			case <-stop:
			default:
				if _, ok := c.Message().(*one); ok {
					_ = c.Tell(c.Self(), c.Message())
				}
			}
		})
		_ = spin.Tell(&one{})
	}
	began := time.Now()
	for range 50 {
		ask(t, spawn(t, s, echo), 1)
	}
	if d := time.Since(began); d > time.Minute {
		t.Errorf("50 asks took %v beside busy actors", d)
	}
	close(stop)
}

// Pairs that wake each other for ever through the run-next slot leave room for others.
func TestPingPongPairsAreFair(t *testing.T) {
	s := newSystem(t)
	stop := make(chan struct{})
	bounce := func(c *actor.Context) {
		select {
		case <-stop:
		default:
			if _, ok := c.Message().(*one); ok {
				_ = c.Request(c.Sender(), c.Message())
			}
		}
	}
	for range 4 * runtime.GOMAXPROCS(0) {
		a, b := spawn(t, s, bounce), spawn(t, s, bounce)
		_ = a.Send(actor.Envelope{Message: &one{}, Sender: b})
	}
	for range 50 {
		ask(t, spawn(t, s, echo), 1)
	}
	close(stop)
}

// An actor that ends its goroutine ends nothing else: not the cells that its worker had at hand.
func TestGoexitLosesNoCell(t *testing.T) {
	s := newSystem(t)
	for range 200 {
		other := spawn(t, s, echo)
		actor.Settle(other)
		a := s.NewAsk()
		ref := spawn(t, s, func(c *actor.Context) {
			if c.Message() == "go" {
				_ = c.Send(other, actor.Envelope{Message: "x", Reply: s, ReplyID: a.ID()}) // in the run-next slot
				runtime.Goexit()
			}
			echo(c)
		})
		_ = ref.Tell("go")
		if v, err := a.Wait(t.Context()); v != "x" || err != nil {
			t.Fatalf("%v, %v", v, err)
		}
		ask(t, ref, "still there")
	}
}

func TestFanoutReachesEverybody(t *testing.T) {
	s := newSystem(t)
	var wg sync.WaitGroup
	refs := make([]*actor.Ref, 5000)
	for i := range refs {
		refs[i] = spawn(t, s, func(c *actor.Context) {
			if _, ok := c.Message().(*one); ok {
				wg.Done()
			}
		})
	}
	for range 4 {
		wg.Add(len(refs))
		for _, ref := range refs {
			if err := ref.Tell(&one{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
}
