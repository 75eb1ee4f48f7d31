package memberlist

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
)

// Set provides a Provider of a Config, and binds it as the membership of a node.
var Set = wire.NewSet(New, wire.Bind(new(core.Provider), new(*Provider)))
