package disthash

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
)

// Set provides a Lookup of a Config, and binds it as the identity lookup of a node.
var Set = wire.NewSet(New, wire.Bind(new(core.Lookup), new(*Lookup)))
