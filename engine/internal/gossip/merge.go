package gossip

import (
	"errors"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// offence is what was refused of one message.
type offence struct {
	from, owner core.MemberID
	key         string
	err         error
	count       int
}

// add counts one more; the first is told.
func (o *offence) add(m *Machine, owner core.MemberID, key string, why refusal) {
	m.stats.count(why)
	if o.count++; o.count == 1 {
		o.owner, o.key, o.err = owner, key, why
	}
}

func (s *Stats) count(why error) {
	for i, r := range reasons {
		if errors.Is(why, r) {
			s.refusals[i]++
		}
	}
}

// refuse tells of a whole message that was refused.
func (m *Machine) refuse(o offence) {
	m.stats.count(o.err)
	m.emit(Refused{From: o.from, Owner: o.owner, Key: o.key, Err: o.err, Count: o.count})
}

// merge takes what is new of the entries that p has sent. fresh says that the message is the newest
// of p, so that what p holds can be told from it.
func (m *Machine) merge(p *peer, entries []Entry, fresh bool) {
	bad := offence{from: p.id}
	for i := range entries {
		m.mergeEntry(p, &entries[i], fresh, &bad)
	}
	if bad.count > 0 {
		m.emit(Refused{From: bad.from, Owner: bad.owner, Key: bad.key, Err: bad.err, Count: bad.count})
	}
}

func (m *Machine) mergeEntry(p *peer, in *Entry, fresh bool, bad *offence) {
	e := m.entries[in.Owner]
	if m.cfg.Plain && in.Owner == m.cfg.Self {
		return // they send everybody's entry to everybody
	}
	if why := m.accepts(p, in, e); why != "" {
		bad.add(m, in.Owner, "", why)
		return
	}
	upto, whole := m.take(p, in, e, bad)
	if in.Base > e.upto && !simbug.On("gossip-acknowledges-gap") {
		m.stats.Gaps++
		return
	}
	m.advance(e, upto)
	if fresh && whole && !m.cfg.Plain {
		p.raise(e, in.last())
	}
}

// accepts tells why p may not say what it says of the owner, or not in this form; empty: it may.
func (m *Machine) accepts(p *peer, in *Entry, e *entry) refusal {
	switch {
	case p.client, in.Owner == m.cfg.Self:
		return ErrForeign
	case m.isBlocked(in.Owner):
		return ErrBlocked
	case e == nil:
		return ErrUnknown
	case in.Owner != p.id && !in.Relayed && !m.cfg.Plain && !simbug.On("gossip-takes-foreign"):
		return ErrForeign
	case len(in.Values) > maxValues && !m.cfg.Plain:
		return ErrTooMany
	}
	return ordered(in.Values)
}

// ordered tells whether values are as a message must have them.
func ordered(values []Value) refusal {
	if len(values) == 0 {
		return ErrInvalid
	}
	for i := 1; i < len(values); i++ {
		if values[i-1].Version >= values[i].Version {
			return ErrInvalid
		}
	}
	return ""
}

// take merges the values of an entry. upto is the version up to which nothing was refused.
func (m *Machine) take(p *peer, in *Entry, e *entry, bad *offence) (upto uint64, whole bool) {
	whole = true
	m.makeRoom(p, in, e)
	for _, v := range in.Values {
		if !e.newer(v.Key, v.Version) {
			m.stats.Known++
		} else if why := m.suits(p, e, &v); why != "" {
			bad.add(m, e.id, v.Key, why)
			whole = false
			continue
		} else {
			m.write(e, v)
			m.stats.Merged++
		}
		if whole {
			upto = v.Version
		}
	}
	return upto, whole
}

// makeRoom takes the listing of an entry before the rest of it: by what it ends there is room for what came
// after.
func (m *Machine) makeRoom(p *peer, in *Entry, e *entry) {
	for _, v := range in.Values {
		if v.Key == KeyKeys && e.newer(v.Key, v.Version) && m.suits(p, e, &v) == "" {
			m.write(e, v)
			m.stats.Merged++
		}
	}
}

// suits tells what is wrong with a new value of e; empty: nothing. The member itself is believed
// whatever its version: it may have refuted what was never heard of here.
func (m *Machine) suits(p *peer, e *entry, v *Value) refusal {
	known := e.highest()
	switch {
	case v.Version == 0 || v.Version > maxVersion:
		return ErrVersion
	case v.Version > known && v.Version-known > MaxJump && e.id != p.id:
		return ErrVersion
	case e.full(v.Key):
		return ErrTooMany
	}
	if why := checkValue(v.Key, v.Message); why != "" || v.Key != KeyKeys {
		return why
	}
	if _, ok := parseListing(v.Message); !ok {
		return ErrInvalid
	}
	return ""
}
