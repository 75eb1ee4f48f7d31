//go:build race

package nodes_test

import "testing"

// TestStopAtAnyMomentWithoutRaces looks for races in a few more of those stops: the detector makes each
// several times as slow.
func TestStopAtAnyMomentWithoutRaces(t *testing.T) { stopsAmongPeers(t, 1_000, 1_030) }
