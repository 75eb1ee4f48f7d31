package bbolt

import "github.com/google/wire"

// Set provides a Store of a Config, closed by the injector's cleanup. It binds no role: the application
// says which roles the store fills.
var Set = wire.NewSet(Open)
