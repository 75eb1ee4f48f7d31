module github.com/granary-go/granary/protos

go 1.26.0
