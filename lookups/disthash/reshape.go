package disthash

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// state is what this member knows about ownership: the present table, and whom it has yet to hear of
// about what it inherited. It is immutable, and replaced as a whole; the functions of this file make
// the next one, purely.
type state struct {
	now     *table
	number  int // of now; the first is 0
	waits   map[core.MemberID]wait
	before  []before              // tables that were in force and still matter, ascending
	settles map[core.MemberID]int // number of the table under which a member was last known to be settled
}

// wait is for one member to say that it is settled in the present view.
type wait struct {
	from  int       // what it owned since this table it may still run
	until time.Time // when to give up
}

// before is a table that was in force, and its number.
type before struct {
	*table
	number int
	until  time.Time // it is kept at least until then
}

// maxBefore bounds how many tables are kept: what ten members make that join and turn Up within the
// patience of a hand-over, three times over. Past that the oldest is forgotten: views then change
// faster than anybody can stop what it loses, and an overlap is not to be avoided.
const maxBefore = 64

// next is the state after the view of t was installed.
//
// An identity moves to self from a member that stays only if the row of one of the two changed, so
// such members are waited for. Others are not: not when a member died, and not when another came.
// But if a change followed another within the time that a handover may take, then what moves now may
// have come to its owner by that one, and may still run where it was before: then everybody is waited
// for that was not known to be settled since.
func (s *state) next(self core.MemberID, t *table, compat bool, now time.Time, patience time.Duration) *state {
	if s == nil || compat {
		return &state{now: t} // before its first view, a member was not up in any
	}
	if simbug.On("stale-table") {
		t = s.now
	}
	n := &state{now: t, number: s.number + 1, waits: map[core.MemberID]wait{}, settles: map[core.MemberID]int{}}
	n.before = append(slices.Clone(s.before), before{s.now, s.number, now.Add(patience)})
	me, _ := t.view.Member(self)
	was, _ := s.now.view.Member(self)
	mine, loses := hostsAnything(me) && !sameShare(was, me), hostsAnything(me) && s.somebodyLost(self, t)
	for m := range t.view.All() {
		if m.ID == self {
			continue
		}
		from := n.number
		if old, there := s.now.view.Member(m.ID); there && hostsAnything(old) && (mine || !sameShare(old, m)) {
			from = s.number
		}
		known, ever := s.settles[m.ID]
		if ever {
			n.settles[m.ID] = known
		}
		if since := max(known, s.hostedSince(m.ID, now)); loses && since < s.number {
			from = since
		}
		until := now.Add(patience)
		if w, waiting := s.waits[m.ID]; waiting { // it may not even have stopped what it lost before
			from, until = min(from, w.from), w.until
		}
		if from < n.number {
			n.waits[m.ID] = wait{from, until}
		}
	}
	return n.trimmed(now)
}

// somebodyLost tells whether identities may move to self with t.
func (s *state) somebodyLost(self core.MemberID, t *table) bool {
	for old := range s.now.view.All() {
		if m, stays := t.view.Member(old.ID); hostsAnything(old) && (!stays || !sameShare(old, m)) || old.ID == self && !sameShare(old, m) {
			return true
		}
	}
	return false
}

// hostedSince is the number of the first table, of those that are kept for their time, under which id
// hosted something; past all if there is none.
func (s *state) hostedSince(id core.MemberID, now time.Time) int {
	for _, b := range s.before {
		if m, there := b.view.Member(id); there && hostsAnything(m) && now.Before(b.until) {
			return b.number
		}
	}
	return s.number + 1
}

// sameShare tells whether a member's claim to identities is the same in two rows.
func sameShare(a, b core.Member) bool {
	return a.Status == b.Status && weight(a) == weight(b) && slices.Equal(a.Kinds, b.Kinds)
}

func weight(m core.Member) uint16 {
	if m.Weight == 0 {
		return 100
	}
	return m.Weight
}

// trimmed forgets the tables that do not matter any more. It changes s, which nobody else has seen.
func (s *state) trimmed(now time.Time) *state {
	oldest := s.number
	for _, w := range s.waits {
		oldest = min(oldest, w.from)
	}
	s.before = slices.DeleteFunc(s.before, func(b before) bool { return b.number < oldest && !now.Before(b.until) })
	if extra := len(s.before) - maxBefore; extra > 0 {
		s.before = s.before[extra:]
	}
	return s
}

// settled is the state after these members were found to be settled, or were given up.
func (s *state) settled(now time.Time, ids ...core.MemberID) *state {
	n := *s
	n.waits, n.settles = maps.Clone(s.waits), maps.Clone(s.settles)
	for _, id := range ids {
		delete(n.waits, id)
		n.settles[id] = n.number
	}
	n.before = slices.Clone(s.before)
	return n.trimmed(now)
}

// overdue lists who was waited for long enough.
func (s *state) overdue(now time.Time) (ids []core.MemberID) {
	for _, id := range slices.Sorted(maps.Keys(s.waits)) {
		if !now.Before(s.waits[id].until) {
			ids = append(ids, id)
		}
	}
	return ids
}

// waiting lists who is waited for, and when the first of them is to be given up.
func (s *state) waiting() (ids []core.MemberID, first time.Time) {
	for _, w := range s.waits {
		if first.IsZero() || w.until.Before(first) {
			first = w.until
		}
	}
	return slices.Sorted(maps.Keys(s.waits)), first
}

// held tells whether another member may still run id.
func (s *state) held(id core.Identity) bool {
	if len(s.waits) == 0 {
		return false
	}
	for _, b := range s.before {
		m, ok := b.owner(id)
		if !ok {
			continue
		}
		if w, waiting := s.waits[m.ID]; waiting && w.from <= b.number {
			return true
		}
	}
	return false
}

// losers lists what runs and is owned by another member, or by nobody.
func (s *state) losers(self core.MemberID, running iter.Seq[core.Activation]) (lost []core.Activation) {
	for a := range running {
		if !s.now.owns(self, a.Identity) {
			lost = append(lost, a)
		}
	}
	return lost
}
