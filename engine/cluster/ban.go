package cluster

import (
	"fmt"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/internal/membership"
)

// MaxBan is the longest time for which Block refuses a member.
const MaxBan = membership.MaxBan

// MaxBans is how many members one member may have blocked at a time.
const MaxBans = gossip.MaxBlocked

// Block refuses all traffic of the member id, here at once, and at all other members when gossip has told
// them, within a few of its intervals. It is for operators: a member that does harm is put out until
// somebody has looked at it. It does not stop the process, it takes nothing from a provider without order
// but leaves the member out of views; where the provider keeps the view in one record, the member is
// evicted from it, and stops. Other starts of that process have other IDs and are not blocked.
//
// It ends by itself after d, MaxBan at most; 0 means an hour. A call for one that is blocked already can
// only make it longer. It returns at once. Errors: core.ErrInvalid (no ID, the own one, or a time out of
// range), core.ErrOverloaded (MaxBans are in force), core.ErrStopped (before Start or after Stop),
// core.ErrUnsupported (a client).
func (n *Node) Block(id core.MemberID, d time.Duration, reason string) error {
	switch {
	case n.cfg.Client:
		return fmt.Errorf("cluster: block %s: a client blocks nobody: %w", id, core.ErrUnsupported)
	case id == "" || id == n.id:
		return fmt.Errorf("cluster: block %q: want the ID of another member: %w", id, core.ErrInvalid)
	case d < 0 || d > MaxBan:
		return fmt.Errorf("cluster: block %s for %v: want 0 to %v: %w", id, d, MaxBan, core.ErrInvalid)
	case !n.watching():
		return fmt.Errorf("cluster: block %s: the node is not running: %w", id, core.ErrStopped)
	}
	if n.views.bans.Add(1) > MaxBans { // the owner corrects the number after each ban
		n.views.bans.Add(-1)
		return fmt.Errorf("cluster: block %s: %d members are blocked already; wait until a ban ends: %w", id, MaxBans, core.ErrOverloaded)
	}
	if !n.post(membership.Ban{ID: id, For: d, Reason: reason}) {
		n.views.bans.Add(-1)
		return fmt.Errorf("cluster: block %s: %d things wait already: %w", id, maxHappened, core.ErrOverloaded)
	}
	return nil
}

// watching reports whether the owner of the membership runs.
func (n *Node) watching() bool {
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	return n.life.watching
}

func (n *Node) watch(on bool) {
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	n.life.watching = on
}

// learnedBans takes what another member says of whom it has blocked.
func (n *Node) learnedBans(from core.MemberID, bans []gossip.Blocked) {
	for _, b := range bans {
		if b.Remaining > 0 {
			n.post(membership.Ban{ID: b.ID, For: b.Remaining, From: from, Reason: fmt.Sprintf("blocked by member %s", from)})
		}
	}
}

// sayBans tells gossip of this member's own bans.
func (o *owner) sayBans(now time.Time) {
	bans := o.reducer.Bans(now)
	o.n.views.bans.Store(int32(len(bans)))
	o.n.gossip.ownBans(bans)
}
