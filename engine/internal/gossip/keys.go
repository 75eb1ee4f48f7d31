package gossip

import (
	"time"

	"github.com/granary-go/granary/core"
)

// The keys of the engine.
const (
	KeyTopology  = "topology"  // Topology: the view that the member has installed
	KeyHeartbeat = "heartbeat" // Heartbeat: how many activations the member has
	KeyLeft      = "left"      // no content: the member leaves in order
	KeyBlocked   = "blocked"   // list of Blocked: the bans that the member itself has made
	KeyKeys      = "$keys"     // what keys there were when one was last removed; kept by Unset, beside MaxKeys
)

// Topology names the view that a member has installed.
type Topology struct {
	// Lineage is that of the view; empty where epochs are local to a member.
	Lineage string
	Epoch   uint64
	// Hash is the view's own, over what ownership rests on.
	Hash uint64
	// WireHash is Proto.Actor's, over IDs alone.
	WireHash uint64
}

// MaxKindCounts is the greatest number of kinds in a Heartbeat.
const MaxKindCounts = 1024

// KindCount is the number of activations of one kind on one member.
type KindCount struct {
	Kind  string
	Count int64
}

// Heartbeat is what a member says of its load.
type Heartbeat struct {
	Activations []KindCount // ascending by kind, without repeats
}

// MaxBlocked is the greatest number of bans in a list of Blocked.
const MaxBlocked = 128

// Blocked is a ban of one member, by ID. Remaining is how long it is still to last, counted by each
// reader on its own clock from when it first saw the list.
type Blocked struct {
	ID        core.MemberID
	Remaining time.Duration
}
