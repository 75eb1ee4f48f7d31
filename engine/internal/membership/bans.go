package membership

import (
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// Bounds of bans.
const (
	DefaultBan     = time.Hour      // how long a ban lasts that does not say it
	MaxBan         = 24 * time.Hour // the longest; whoever asks for more gets this
	DefaultMaxBans = 1_024
)

// Ban refuses one member: its traffic, and its row where the provider's views have no order. It is by
// ID, so that whoever follows at the address is served, and it always ends.
type Ban struct {
	ID core.MemberID

	// For is how long from now. 0: DefaultBan. What is negative, or shorter than what is left of a
	// ban in force, changes nothing.
	For time.Duration

	// From is the member that said so; empty: this one. Bans of others are never passed on, so that
	// no ban is kept alive by members that tell each other of it.
	From core.MemberID

	Reason string // for people
}

// Unban ends the ban that this member itself has said. What others have said stays.
type Unban struct{ ID core.MemberID }

// Told is all whom another member has banned: what it has said before of others has ended. Each of its bans
// comes as a Ban besides.
type Told struct {
	From core.MemberID
	IDs  []core.MemberID
}

// Standing is a ban in force.
type Standing struct {
	ID     core.MemberID
	Until  time.Time
	Own    bool            // this member has said it itself
	From   []core.MemberID // the others that have, in ascending order
	Reason string
}

// Standing lists all bans in force, in ascending order of ID.
func (r *Reducer) Standing(now time.Time) (out []Standing) {
	for _, id := range sorted(r.bans.by) {
		b := r.bans.by[id]
		s := Standing{ID: id, Until: b.until, Own: now.Before(b.own), Reason: b.reason}
		for _, from := range sorted(b.others) {
			if now.Before(b.others[from]) {
				s.From = append(s.From, from)
			}
		}
		out = append(out, s)
	}
	return out
}

// lift takes out what from has said of those that which chooses; empty: this member.
func (r *Reducer) lift(now time.Time, from core.MemberID, which func(core.MemberID) bool, e *Effect) {
	var out []core.MemberID
	for _, id := range sorted(r.bans.by) {
		if which(id) && r.bans.lift(now, id, from) {
			out = append(out, id)
		}
	}
	e.Unblocked = append(e.Unblocked, r.freed(out)...)
}

// ban takes a ban in.
func (r *Reducer) ban(now time.Time, b Ban, e *Effect) {
	known := r.refused(b.ID)
	out, added := r.bans.add(now, b)
	e.Unblocked = append(e.Unblocked, r.freed(out)...)
	if added && !known && r.refused(b.ID) {
		e.Blocked = append(e.Blocked, b.ID)
	}
}

// freed are those of ids that are not refused for another reason.
func (r *Reducer) freed(ids []core.MemberID) []core.MemberID {
	return slices.DeleteFunc(ids, func(id core.MemberID) bool { return id == r.cfg.Self || r.refused(id) })
}

// Bans lists what is left of the bans that this member has said itself, in ascending order of ID: what
// it tells the others.
func (r *Reducer) Bans(now time.Time) (out []Ban) {
	for _, id := range sorted(r.bans.by) {
		if b := r.bans.by[id]; now.Before(b.own) {
			out = append(out, Ban{ID: id, For: b.own.Sub(now), Reason: b.reason})
		}
	}
	return out
}

// bans remembers who is banned, each until its time.
type bans struct {
	max int
	by  map[core.MemberID]ban
}

type ban struct {
	until  time.Time                   // the latest that anybody said
	own    time.Time                   // what this member said itself; zero: nothing
	others map[core.MemberID]time.Time // what others said
	reason string
}

// lift takes out what from has said of id. True: that was all.
func (b *bans) lift(now time.Time, id, from core.MemberID) (over bool) {
	e := b.by[id]
	if from == "" {
		e.own = time.Time{}
	}
	delete(e.others, from)
	e.until = e.own
	for _, until := range e.others {
		if until.After(e.until) {
			e.until = until
		}
	}
	if now.Before(e.until) {
		b.by[id] = e
		return false
	}
	delete(b.by, id)
	return true
}

func (b *bans) has(id core.MemberID) bool { return !b.by[id].until.IsZero() }

// add remembers one more, and returns who had to yield for it.
func (b *bans) add(now time.Time, in Ban) (out []core.MemberID, added bool) {
	if in.ID == "" || in.For < 0 {
		return nil, false
	}
	entry, known := b.by[in.ID]
	if !known && len(b.by) >= b.max {
		id, found := b.least(in.From == "")
		if !found {
			return nil, false
		}
		delete(b.by, id)
		out = append(out, id)
	}
	if b.by == nil {
		b.by = map[core.MemberID]ban{}
	}
	b.by[in.ID] = entry.extend(in, now.Add(in.length()))
	return out, true
}

func (in Ban) length() time.Duration {
	if in.For == 0 {
		return DefaultBan
	}
	return min(in.For, MaxBan)
}

func (e ban) extend(in Ban, until time.Time) ban {
	if until.After(e.until) {
		e.until, e.reason = until, in.Reason
	}
	switch {
	case in.From == "" && until.After(e.own):
		e.own = until
	case in.From != "" && until.After(e.others[in.From]):
		if e.others == nil {
			e.others = map[core.MemberID]time.Time{}
		}
		e.others[in.From] = until
	}
	return e
}

// least is the ban that yields when there are too many: the one that ends first, of those that others
// said; and of the own ones only for another own one. What peers say never drives out what this
// member has decided.
func (b *bans) least(own bool) (least core.MemberID, found bool) {
	for _, id := range sorted(b.by) {
		e := b.by[id]
		if !e.own.IsZero() && !own {
			continue
		}
		if best := b.by[least]; !found || e.yields(best) {
			least, found = id, true
		}
	}
	return least, found
}

func (e ban) yields(o ban) bool {
	if e.own.IsZero() != o.own.IsZero() {
		return e.own.IsZero()
	}
	return e.until.Before(o.until)
}

// expire forgets what has ended, and returns it in ascending order.
func (b *bans) expire(now time.Time) (out []core.MemberID) {
	for _, id := range sorted(b.by) {
		if !now.Before(b.by[id].until) {
			delete(b.by, id)
			out = append(out, id)
		}
	}
	return out
}

// next is when the first ban ends.
func (b *bans) next() (at time.Time, ok bool) {
	for _, e := range b.by {
		if !ok || e.until.Before(at) {
			at, ok = e.until, true
		}
	}
	return at, ok
}

// all are the banned but for self, in ascending order.
func (b *bans) all(self core.MemberID) []core.MemberID {
	return slices.DeleteFunc(sorted(b.by), func(id core.MemberID) bool { return id == self })
}

func sorted[V any](m map[core.MemberID]V) []core.MemberID { return slices.Sorted(maps.Keys(m)) }
