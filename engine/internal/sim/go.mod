module github.com/granary-go/granary/engine/internal/sim

go 1.26.0

require (
	github.com/granary-go/granary/core v0.1.0
	github.com/granary-go/granary/engine v0.1.0
	github.com/granary-go/granary/lookups/disthash v0.1.0
)

require (
	github.com/google/wire v0.7.0 // indirect
	github.com/granary-go/granary/protos v0.1.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/granary-go/granary/core => ../../../core
	github.com/granary-go/granary/engine => ../..
	github.com/granary-go/granary/lookups/disthash => ../../../lookups/disthash
	github.com/granary-go/granary/protos => ../../../protos
)
