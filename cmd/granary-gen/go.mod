module github.com/granary-go/granary/cmd/granary-gen

go 1.26.0

require (
	github.com/bufbuild/protocompile v0.14.1
	github.com/granary-go/granary/core v0.1.0
	github.com/granary-go/granary/engine v0.1.0
	github.com/granary-go/granary/protos v0.1.0
	google.golang.org/protobuf v1.36.12
)

require golang.org/x/sync v0.8.0 // indirect

replace (
	github.com/granary-go/granary/core => ../../core
	github.com/granary-go/granary/engine => ../../engine
	github.com/granary-go/granary/protos => ../../protos
)
