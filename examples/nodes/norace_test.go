//go:build !race

package nodes_test

import "testing"

// virtualStops is how often a member is stopped at a random moment in virtual time.
const virtualStops = 1_000

func TestStopAtAnyMomentAmongPeers(t *testing.T) { stopsAmongPeers(t, 0, virtualStops) }
