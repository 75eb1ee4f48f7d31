// Package engine is the map of Granary's engine; it holds only the version. The work is done below
// it, each package calling only those after it:
//
//   - cluster: the front door. cluster.Node is the one type that an application holds.
//   - grain: what the author of a grain and generated code see: kinds, calls, errors.
//   - remote: messages between members, over gRPC or in memory.
//   - actor: local actors; it knows no network.
//
// Package clustertest runs whole clusters in one process for tests; package actortest helps to test
// actors. The command cmd/protoc-gen-go-grain makes typed grains of .proto files.
package engine
