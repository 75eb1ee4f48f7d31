module github.com/granary-go/granary/lookups/disthash

go 1.26.0

require (
	github.com/google/wire v0.7.0
	github.com/granary-go/granary/core v0.1.0
	github.com/granary-go/granary/protos v0.1.0
	google.golang.org/protobuf v1.36.12
)

replace (
	github.com/granary-go/granary/core => ../../core
	github.com/granary-go/granary/protos => ../../protos
)
