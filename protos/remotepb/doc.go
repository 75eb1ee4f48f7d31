// Package remotepb is generated: the frames between members and the one gRPC service of a member:
// proto package remote.
package remotepb
