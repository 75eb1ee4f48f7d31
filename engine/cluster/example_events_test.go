package cluster_test

import (
	"context"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
)

// A node tells what happens to its members. Subscribe before Start, so that nothing is missed.
func ExampleNode_Subscribe() {
	ctx := context.Background()
	node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler)}, cluster.Single())
	if err != nil {
		fmt.Println(err)
		return
	}
	up := make(chan struct{})
	node.Subscribe(func(e cluster.Event) {
		switch e := e.(type) {
		case cluster.MemberJoined:
			fmt.Println("joined:", e.Member.ID == node.ID())
		case cluster.MemberChanged:
			fmt.Println(e.Before, "to", e.Member.Status)
			if e.Member.Status == core.Up {
				close(up)
			}
		}
	})
	if err := node.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	<-up
	fmt.Println(node.Stop(ctx))
	// Output:
	// joined: true
	// joining to up
	// up to leaving
	// <nil>
}

// A broadcast comes to the event stream of every member.
func ExampleNode_Broadcast() {
	ctx := context.Background()
	node, err := cluster.New(cluster.Config{
		Logger:     slog.New(slog.DiscardHandler),
		Broadcasts: []proto.Message{&wrapperspb.StringValue{}},
	}, cluster.Single())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := node.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	arrived := make(chan string, 1)
	actor.SubscribeOf(node.Events(), func(m *wrapperspb.StringValue) { arrived <- m.GetValue() })
	outcomes, err := node.Broadcast(ctx, wrapperspb.String("prices have changed"))
	fmt.Println(<-arrived, len(outcomes), outcomes[0].Err, err)
	fmt.Println(node.Stop(ctx))
	// Output:
	// prices have changed 1 <nil> <nil>
	// <nil>
}
