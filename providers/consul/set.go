package consul

import "github.com/google/wire"

// Set provides a core.Provider, the membership of a node, of a Config.
var Set = wire.NewSet(New)
