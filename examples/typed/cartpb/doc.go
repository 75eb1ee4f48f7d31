// Package cartpb is generated from cart.proto: the messages of the shop's carts, and their grains.
package cartpb

//go:generate go run github.com/granary-go/granary/cmd/granary-gen cart.proto
