package remote_test

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/remote"
	"github.com/granary-go/granary/protos/actorpb"
)

// What is not registered does not arrive; the runtime's own messages cannot be registered.
func ExampleTypes() {
	types := remote.NewTypes(&wrapperspb.StringValue{})
	fmt.Println(types.Register(&wrapperspb.BytesValue{}))
	err := types.Register(&actorpb.Stop{})
	fmt.Println(errors.Is(err, core.ErrInvalid))
	// Output:
	// <nil>
	// true
}
