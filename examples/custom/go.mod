module example.com/custom

go 1.26.0

require github.com/granary-go/granary/core v0.1.0

require github.com/google/wire v0.7.0

replace github.com/granary-go/granary/core => ../../core
