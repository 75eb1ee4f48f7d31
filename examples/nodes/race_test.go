//go:build race

package nodes_test

// The race detector makes everything several times as slow; what is tested stays, how often does not.
const (
	stopRounds = 60
	realRounds = 5
	fewGrains  = 1_000
)
