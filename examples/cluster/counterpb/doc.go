// Package counterpb is generated from counter.proto: the grain that examples/cluster calls.
package counterpb
