package memory_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
)

// Two nodes of one process that share a hub see each other.
func ExampleHub() {
	ctx := context.Background()
	hub := memory.NewHub()
	var running sync.WaitGroup
	env := core.Env{
		Logger: slog.Default(), Clock: core.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Hooks: &core.Hooks{},
		Go: func(_ string, f func()) { running.Go(f) },
	}
	one, two := hub.Provider(), hub.Provider()
	both := make(chan *core.View, 1)
	err := one.Join(ctx, env, core.Member{ID: "m1", Address: "10.0.0.1:7000", Status: core.Up}, func(v *core.View) {
		if v.Len() == 2 {
			both <- v
		}
	})
	fmt.Println(err)
	err = two.Join(ctx, env, core.Member{ID: "m2", Address: "10.0.0.2:7000", Status: core.Up}, func(*core.View) {})
	fmt.Println(err)
	for m := range (<-both).All() {
		fmt.Println(m.ID, m.Address)
	}
	fmt.Println(two.Leave(ctx), one.Leave(ctx))
	running.Wait()
	// Output:
	// <nil>
	// <nil>
	// m1 10.0.0.1:7000
	// m2 10.0.0.2:7000
	// <nil> <nil>
}

func ExampleStore() {
	ctx := context.Background()
	s := memory.NewStore()
	k := core.Key{Group: "Cart/alice", Name: "lines"}
	if _, err := s.Put(ctx, k, []byte("tea"), core.Absent); err != nil {
		fmt.Println(err)
	}
	it, err := s.Get(ctx, k)
	fmt.Println(string(it.Value), err)
	_, err = s.Put(ctx, k, []byte("milk"), core.Absent)
	fmt.Println(err)
	// Output:
	// tea <nil>
	// memory: put "Cart/alice"/"lines": it is at revision 1, not 0: conflict
}
