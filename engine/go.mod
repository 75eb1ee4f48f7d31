module github.com/granary-go/granary/engine

go 1.26.0

require (
	github.com/granary-go/granary/core v0.1.0
	github.com/granary-go/granary/protos v0.1.0
)

replace (
	github.com/granary-go/granary/core => ../core
	github.com/granary-go/granary/protos => ../protos
)
