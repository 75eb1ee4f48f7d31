module github.com/granary-go/granary/bench/kit

go 1.26.0
