package actor_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"weak"

	"github.com/granary-go/granary/engine/actor"
)

// allocs asserts how many allocations f makes on all goroutines together, per run.
func allocs(t *testing.T, what string, want float64, f func()) {
	t.Helper()
	for range 100 {
		f() // pools fill
	}
	got := testing.AllocsPerRun(2000, f)
	if !raceEnabled && got > want {
		t.Errorf("%s: %v allocations; want at most %v", what, got, want)
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	s := newSystem(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	msg := any(&one{})
	ref := spawn(t, s, echo)
	handled := make(chan struct{})
	sink := spawn(t, s, func(c *actor.Context) {
		if _, ok := c.Message().(*one); ok {
			handled <- struct{}{}
		}
	})
	allocs(t, "ask", 0, func() { _, _ = s.Ask(ctx, ref, msg) })
	endless := context.WithoutCancel(ctx)
	allocs(t, "ask without a ctx that ends", 0, func() { _, _ = s.Ask(endless, ref, msg) })
	allocs(t, "tell", 0, func() { _ = sink.Tell(msg); <-handled })
	allocs(t, "eight tells", 0, func() {
		for range 8 {
			_ = sink.Tell(msg)
		}
		for range 8 {
			<-handled
		}
	})
	allocs(t, "deliver", 0, func() { _ = s.Deliver(sink.PID(), actor.Envelope{Message: msg}); <-handled })

	asker := spawn(t, s, func(c *actor.Context) {
		if _, ok := c.Message().(*one); ok {
			v, err := c.Ask(ctx, ref, msg)
			if err != nil {
				t.Error(err)
			}
			_ = c.Respond(v)
		}
	})
	allocs(t, "ask from an actor", 0, func() { _, _ = s.Ask(ctx, asker, msg) })

	gated, err := s.SpawnActor("g/", &actor.Props{Gate: func(actor.Actor, *actor.Envelope) (bool, error) { return false, nil }}, actor.Func(echo))
	if err != nil {
		t.Fatal(err)
	}
	allocs(t, "ask through a gate", 0, func() { _, _ = s.Ask(ctx, gated, msg) })

	p := &actor.Props{New: func() actor.Actor { return actor.Func(noop) }}
	allocs(t, "spawn and stop", 4, func() {
		r, err := s.Spawn(p)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.StopWait(ctx)
	})
}

// Questions that nobody waits for any more leave their slots to others.
func TestSlotsOfAsksAreUsedAgain(t *testing.T) {
	s := newSystem(t)
	silent := spawnProps(t, s, &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor { return actor.Func(noop) }})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var highest uint64
	for range 20_000 {
		a := s.NewAsk()
		highest = max(highest, a.ID()&(1<<24-1)) // the index of the slot
		if err := silent.Send(actor.Envelope{Message: 1, Reply: s, ReplyID: a.ID()}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Wait(ended); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if highest >= 4096 {
		t.Errorf("slot %d is in use; want few", highest)
	}
}

// A message that was handled is free, also while the actor lives on.
func TestHandledMessagesAreFreed(t *testing.T) {
	s := newSystem(t)
	a := newHeld(t, s, actor.MailboxConfig{})
	type load [1 << 10]byte
	var refs []weak.Pointer[load]
	for range 40 {
		m := new(load)
		refs = append(refs, weak.Make(m))
		if err := a.ref.Tell(m); err != nil {
			t.Fatal(err)
		}
	}
	a.release()
	ask(t, a.ref, 1)
	actor.Settle(a.ref)
	runtime.GC()
	for i, r := range refs {
		if r.Value() != nil {
			t.Errorf("message %d of %d is still held", i, len(refs))
		}
	}
}

// An idle actor costs little: its cell, its name and its place in the registry.
func TestIdleActorIsSmall(t *testing.T) {
	if actor.CellSize > 256 {
		t.Errorf("a cell has %d bytes; want at most 256, a size class of the allocator", actor.CellSize)
	}
	s := newSystem(t)
	n := 20_000
	if raceEnabled {
		n = 1000
	}
	a := actor.Func(noop)
	p := &actor.Props{New: func() actor.Actor { return a }}
	refs := make([]*actor.Ref, n)
	live := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := live()
	for i := range refs {
		refs[i] = spawnProps(t, s, p)
	}
	for _, ref := range refs { // each has handled Started and a message, and is idle again
		_ = ref.Tell(&one{})
	}
	ask(t, spawn(t, s, echo), "settle")
	for _, ref := range refs {
		actor.HeldChunks(ref)
	}
	per := float64(live()-before) / float64(n)
	t.Logf("%.0f bytes an idle actor", per)
	if !raceEnabled && per > 320 {
		t.Errorf("%.0f bytes an idle actor; want at most 320", per)
	}
	runtime.KeepAlive(refs)
}
