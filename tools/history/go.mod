module github.com/granary-go/granary/tools/history

go 1.26.0

require github.com/granary-go/granary/examples v0.1.0

replace (
	github.com/granary-go/granary/core => ../../core
	github.com/granary-go/granary/engine => ../../engine
	github.com/granary-go/granary/examples => ../../examples
	github.com/granary-go/granary/lookups/disthash => ../../lookups/disthash
	github.com/granary-go/granary/protos => ../../protos
	github.com/granary-go/granary/providers/memberlist => ../../providers/memberlist
)
