module github.com/granary-go/granary/core

go 1.26.0
