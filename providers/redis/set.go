package redis

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
)

// ClientSet provides a Client of a Config, with the cleanup that closes it. It stands apart, since an application
// that takes both of the other sets has one client.
var ClientSet = wire.NewSet(Open)

// ProviderSet provides a Provider of a ProviderConfig on a Client, and binds it as the membership of a node.
var ProviderSet = wire.NewSet(NewProvider, wire.Bind(new(core.Provider), new(*Provider)))

// StoreSet provides a Store of a StoreConfig on a Client. It binds nothing: the application binds a role.
var StoreSet = wire.NewSet(NewStore)
