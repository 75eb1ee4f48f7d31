module github.com/granary-go/granary/bench

go 1.26.0

require (
	github.com/granary-go/granary/bench/kit v0.1.0
	github.com/granary-go/granary/core v0.1.0
	github.com/granary-go/granary/engine v0.1.0
	github.com/granary-go/granary/lookups/disthash v0.1.0
	github.com/granary-go/granary/protos v0.1.0
	github.com/granary-go/granary/providers/memberlist v0.1.0
)

replace (
	github.com/granary-go/granary/bench/kit => ./kit
	github.com/granary-go/granary/core => ../core
	github.com/granary-go/granary/engine => ../engine
	github.com/granary-go/granary/lookups/disthash => ../lookups/disthash
	github.com/granary-go/granary/protos => ../protos
	github.com/granary-go/granary/providers/memberlist => ../providers/memberlist
)
