package parts

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
)

// Set fills the roles of membership and identity lookup, both on one store, of a Folder and a Name.
var Set = wire.NewSet(
	NewStore, wire.Bind(new(core.Store), new(*Store)),
	NewMembership, wire.Bind(new(core.Provider), new(*Membership)),
	NewDirectory, wire.Bind(new(core.Lookup), new(*Directory)),
)
