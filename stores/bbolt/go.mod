module github.com/granary-go/granary/stores/bbolt

go 1.26.0

require (
	github.com/google/wire v0.7.0
	github.com/granary-go/granary/core v0.1.0
	go.etcd.io/bbolt v1.5.0
)

require golang.org/x/sys v0.48.0 // indirect

replace github.com/granary-go/granary/core => ../../core
