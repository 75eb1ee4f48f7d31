//go:build race

package cluster_test

// raced says that the race detector is on, under which whatever is large takes ten times as long.
const raced = true
