package core_test

import (
	"context"
	"fmt"

	"github.com/granary-go/granary/core"
)

func ExampleMembers() {
	before := core.NewMembers(core.Member{ID: "m2"}, core.Member{ID: "m1"})
	after := core.NewMembers(core.Member{ID: "m3"}, core.Member{ID: "m2"})
	ids := func(ms core.Members) (ids []core.MemberID) {
		for _, m := range ms {
			ids = append(ids, m.ID)
		}
		return ids
	}
	fmt.Println("all", ids(before.Union(after)))
	fmt.Println("joined", ids(after.Difference(before)), "left", ids(before.Difference(after)))
	fmt.Println("stayed", ids(before.Intersection(after)))
	// Output:
	// all [m1 m2 m3]
	// joined [m3] left [m1]
	// stayed [m2]
}

func ExampleView() {
	v, err := core.NewView(core.ViewRecord{Lineage: "l", Epoch: 7, Members: core.NewMembers(
		core.Member{ID: "m1", Address: "10.0.0.1:7000", Kinds: []string{"Cart"}, Status: core.Up},
		core.Member{ID: "m2", Address: "10.0.0.2:7000", Status: core.Up},
	)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Epoch(), v.Len())
	for _, m := range v.Hosting("Cart") {
		fmt.Println(m.ID, m.Address)
	}
	// Output:
	// 7 2
	// m1 10.0.0.1:7000
}

// here is the smallest lookup: every member runs whatever it is asked for.
type here struct{ host core.Host }

func (h *here) Start(_ context.Context, host core.Host, _ core.Env) error {
	h.host = host
	return nil
}

func (h *here) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	return h.host.Activate(ctx, id, core.Token{})
}

func (h *here) Handle(context.Context, core.Member, core.Message) (core.Message, error) {
	return core.Message{}, core.ErrUnsupported // nobody of this lookup asks
}

func (h *here) Forget(core.Identity, core.PID) {}
func (h *here) Reshape(core.Topology) error    { return nil }
func (h *here) Stop(context.Context) error     { return nil }

// engine stands for the node: it gives every identity a process.
type engine struct{ core.Host }

func (engine) Activate(_ context.Context, id core.Identity, _ core.Token) (core.Placement, error) {
	return core.Placement{PID: core.PID{Address: "10.0.0.1:7000", ID: id.Key, Member: "m1"}}, nil
}

func ExampleLookup() {
	var l core.Lookup = &here{}
	fmt.Println(l.Start(context.Background(), engine{}, core.Env{}))
	place, err := l.Resolve(context.Background(), core.Identity{Kind: "Cart", Key: "alice"})
	fmt.Println(place.PID, err)
	// Output:
	// <nil>
	// 10.0.0.1:7000/alice <nil>
}
