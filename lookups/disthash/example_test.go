package disthash_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/lookups/disthash"
)

// host is as much of a node as the example needs.
type host struct {
	core.Host
	self core.Member
}

func (h host) Self() core.Member { return h.self }

func (h host) Activations() iter.Seq[core.Activation] { return slices.Values([]core.Activation{}) }

// The lookups of all members name the same owner, without asking each other.
func ExampleLookup() {
	ctx := context.Background()
	var members []core.Member
	for _, name := range []string{"a", "b", "c"} {
		members = append(members, core.Member{ID: core.MemberID(name), Address: name + ":7000", Kinds: []string{"Cart"}, Status: core.Up})
	}
	view, err := core.NewView(core.ViewRecord{Members: members})
	if err != nil {
		fmt.Println(err)
		return
	}
	env := core.Env{Logger: slog.Default(), Clock: core.SystemClock{}, Hooks: &core.Hooks{}, Go: func(_ string, f func()) { go f() }}

	owners := map[core.MemberID]bool{}
	for _, self := range members {
		lookup, err := disthash.New(disthash.Config{})
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = lookup.Start(ctx, host{self: self}, env) // the engine does this and what follows
		_ = lookup.Reshape(core.Diff(nil, view))
		defer func() { _ = lookup.Stop(ctx) }()
		owner, _ := lookup.Owner(core.Identity{Kind: "Cart", Key: "alice"})
		owners[owner.ID] = true
	}
	fmt.Println("owners of Cart/alice:", len(owners))
	// Output: owners of Cart/alice: 1
}
