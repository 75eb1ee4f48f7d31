package actor_test

import (
	"context"
	"sync"
	"testing"

	"github.com/granary-go/granary/engine/actor"
)

// Work in these benchmarks is closed: the clock runs until the last message has been handled.

type one struct{}

// counter is an actor that closes done at its n-th message.
type counter struct {
	n    int
	done chan struct{}
}

func (a *counter) Receive(c *actor.Context) {
	if _, ok := c.Message().(*one); ok {
		if a.n--; a.n == 0 {
			close(a.done)
		}
	}
}

func benchTell(b *testing.B, senders int) {
	s := newSystem(b)
	a := &counter{n: b.N / senders * senders, done: make(chan struct{})}
	if a.n == 0 {
		return
	}
	ref := spawnProps(b, s, &actor.Props{New: func() actor.Actor { return a }, Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}})
	msg := any(&one{})
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range b.N / senders {
				_ = ref.Tell(msg)
			}
		})
	}
	wg.Wait()
	<-a.done
}

func BenchmarkTell1(b *testing.B) { benchTell(b, 1) }
func BenchmarkTell4(b *testing.B) { benchTell(b, 4) }

// BenchmarkTellBlocking is a flood with back-pressure: the sender waits for room.
func BenchmarkTellBlocking(b *testing.B) {
	s := newSystem(b)
	a := &counter{n: b.N, done: make(chan struct{})}
	ref := spawnProps(b, s, &actor.Props{New: func() actor.Actor { return a }, Mailbox: actor.MailboxConfig{Kind: actor.Blocking}})
	msg := any(&one{})
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		_ = ref.Tell(msg)
	}
	<-a.done
}

func BenchmarkFanout(b *testing.B) {
	s := newSystem(b)
	const actors, each = 100_000, 10
	var wg sync.WaitGroup
	refs := make([]*actor.Ref, actors)
	p := actor.FromFunc(func(c *actor.Context) {
		if _, ok := c.Message().(*one); ok {
			wg.Done()
		}
	})
	for i := range refs {
		refs[i] = spawnProps(b, s, p)
	}
	msg := any(&one{})
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		wg.Add(actors * each)
		for range each {
			for _, ref := range refs {
				_ = ref.Tell(msg)
			}
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*actors*each), "ns/msg")
}

func BenchmarkPingPong(b *testing.B) {
	s := newSystem(b)
	done := make(chan struct{})
	n := b.N
	ping := &actor.Props{New: func() actor.Actor {
		return actor.Func(func(c *actor.Context) {
			switch m := c.Message().(type) {
			case *actor.Ref:
				_ = c.Request(m, &one{})
			case *one:
				if n--; n <= 0 {
					close(done)
					return
				}
				_ = c.Request(c.Sender(), m)
			}
		})
	}}
	pong := spawn(b, s, func(c *actor.Context) {
		if m, ok := c.Message().(*one); ok {
			_ = c.Request(c.Sender(), m)
		}
	})
	ref := spawnProps(b, s, ping)
	b.ReportAllocs()
	b.ResetTimer()
	_ = ref.Tell(pong)
	<-done
}

func benchAsk(b *testing.B, callers int) {
	s := newSystem(b)
	msg := any(&one{})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	refs := make([]*actor.Ref, callers)
	for i := range refs {
		refs[i] = spawn(b, s, echo)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, ref := range refs {
		wg.Go(func() {
			for range max(b.N/callers, 1) {
				if _, err := s.Ask(ctx, ref, msg); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkAsk1(b *testing.B)  { benchAsk(b, 1) }
func BenchmarkAsk64(b *testing.B) { benchAsk(b, 64) }

func BenchmarkSpawn(b *testing.B) {
	s := newSystem(b)
	p := &actor.Props{New: func() actor.Actor { return &counter{} }}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := s.Spawn(p); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

func BenchmarkSpawnStop(b *testing.B) {
	s := newSystem(b)
	p := &actor.Props{New: func() actor.Actor { return &counter{} }}
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		ref, err := s.Spawn(p)
		if err != nil {
			b.Fatal(err)
		}
		if err := ref.StopWait(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
