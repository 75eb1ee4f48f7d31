package viewkeeper

import (
	"time"

	"github.com/granary-go/granary/core"
)

// sighting is what was last seen of a lease, and when that was seen for the first time.
type sighting struct {
	renewal uint64
	held    bool
	at      time.Duration // by the clock of whoever saw it
	first   bool          // nothing was seen of the member before
}

// judge is what one member knows of the others' leases. It holds as many as there are members.
type judge struct {
	trusts bool // the backend takes leases away
	ttl    time.Duration
	limit  time.Duration // after which silence is the end
	gap    time.Duration // after which nothing is known any more
	last   time.Duration // when it was asked before
	seen   map[core.MemberID]sighting
}

// newJudge makes one that has seen nothing. A lease that ran out is followed by a grace, so that a member that was
// held up for a moment costs nobody anything: a fifth of the TTL. Where the backend takes leases away, which it may
// do late, the grace is a little shorter, and the living make theirs anew in it.
func newJudge(ttl time.Duration, trusts bool) *judge {
	j := &judge{trusts: trusts, ttl: ttl, limit: ttl + ttl/5, gap: ttl / 2, seen: map[core.MemberID]sighting{}}
	if trusts {
		j.limit = ttl * 3 / 20
	}
	return j
}

// silent are the members whose time is over, with what was seen of their leases, and after how long that may be
// true of another. v and s were read between before and after. While the own lease cannot be renewed, as on a
// server that refuses writes, others may be silent for the same reason.
func (j *judge) silent(v *core.View, s Snapshot, self core.MemberID, before, after, renewed time.Duration) (out map[core.MemberID]sighting, next time.Duration) {
	next = j.limit
	if v == nil || self == "" {
		return nil, next
	}
	if after-j.last > j.gap || !j.trusts && after-renewed > j.gap {
		clear(j.seen) // what happened meanwhile nobody has seen
	}
	j.last = after
	out = map[core.MemberID]sighting{}
	for m := range v.All() {
		if m.ID == self {
			continue
		}
		known := j.look(m.ID, s, after)
		left := known.at + j.patience(known) - before
		switch {
		case j.trusts && known.held:
		case left <= 0:
			out[m.ID] = known
		default:
			next = min(next, left)
		}
	}
	for id := range j.seen {
		if _, listed := v.Member(id); !listed {
			delete(j.seen, id)
		}
	}
	return out, next
}

// patience is for how long a member may stay as it was seen. One whose lease was never seen, as when others have
// stored its row again in place of lost data, has the time that it takes to find that out.
func (j *judge) patience(g sighting) time.Duration {
	if j.trusts && g.first {
		return j.ttl
	}
	return j.limit
}

// look takes in what s shows of a lease.
func (j *judge) look(id core.MemberID, s Snapshot, now time.Duration) sighting {
	known, ok := j.seen[id]
	if !ok || !known.same(id, s) {
		renewal, held := s.Leases[id]
		known = sighting{renewal, held, now, !ok}
		j.seen[id] = known
	}
	return known
}

// same reports whether s shows what was seen.
func (g sighting) same(id core.MemberID, s Snapshot) bool {
	renewal, held := s.Leases[id]
	return renewal == g.renewal && held == g.held
}
