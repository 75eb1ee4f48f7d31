package actor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/granary-go/granary/engine/actor"
)

// Any number may wait for one answer.
func ExampleFuture() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{})
	defer sys.Stop(ctx)

	ref, _ := sys.Spawn(actor.FromFunc(func(c *actor.Context) {
		if n, ok := c.Message().(int); ok {
			_ = c.Respond(n * 2)
		}
	}))
	answer := sys.Request(ref, actor.Envelope{Message: 21}, time.Second)
	fmt.Println(answer.Result(ctx))
	fmt.Println(answer.Result(ctx))
	// Output:
	// 42 <nil>
	// 42 <nil>
}
