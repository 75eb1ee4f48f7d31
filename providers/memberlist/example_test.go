package memberlist_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/memberlist"
)

// Two members of one pool: the first has no seeds, the second is told where the first is.
func ExampleProvider() {
	ctx := context.Background()
	env := core.Env{ // the engine lends it
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: core.SystemClock{},
		Rand: rand.New(rand.NewPCG(1, 2)), Hooks: &core.Hooks{}, Go: func(_ string, f func()) { go f() },
	}
	self := func(name string) core.Member {
		return core.Member{ID: core.MemberID(name), Address: name + ":7000", Kinds: []string{"Cart"}, Status: core.Up}
	}

	first, err := memberlist.New(memberlist.Config{Preset: memberlist.Local})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := first.Join(ctx, env, self("first"), func(*core.View) {}); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = first.Leave(ctx) }()

	second, err := memberlist.New(memberlist.Config{Preset: memberlist.Local, Seeds: []string{first.Addr()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	views := make(chan *core.View, 10)
	if err := second.Join(ctx, env, self("second"), func(v *core.View) { views <- v }); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = second.Leave(ctx) }()

	for v := range views {
		if v.Len() == 2 {
			for m := range v.All() {
				fmt.Println(m.ID, m.Status)
			}
			return
		}
	}
	// Output:
	// first up
	// second up
}
