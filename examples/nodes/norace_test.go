//go:build !race

package nodes_test

const (
	stopRounds = 1_000
	realRounds = 20
	fewGrains  = 10_000
)
