package membership

import (
	"slices"

	"github.com/granary-go/granary/core"
)

// Type says what an Event tells of.
type Type uint8

// The types. Of one stay of a member in the view come, in this order: Joined or Rejoined; in between
// EndpointConnected once at most, and Unavailable and Available by turns; Left. EndpointTerminated is
// the end of a stay's links, told once for each stay, also if none ever opened; it may come before Left
// (the member is blocked) and after it.
const (
	Joined             Type = iota + 1 // a member came into the view
	Rejoined                           // the same, at the address of an earlier member: Before
	Left                               // it is in the view no more
	Unavailable                        // it is suspected, or its provider misses it: nothing new is placed there
	Available                          // it is not so any more
	Blocked                            // its traffic is refused; it need not be in the view
	EndpointConnected                  // a link to it opened
	EndpointTerminated                 // its links have ended for good
	SelfAccused                        // others vote against this member, or have banned it
	SelfAbsolved                       // they do no more
	SelfSick                           // this member's own timers are late: it is not ready
	SelfWell                           // they are in time again
	SelfEvicted                        // this member is out, for good
)

// String is the type as words, such as "endpoint connected".
func (t Type) String() string {
	words := [...]string{
		"unknown", "joined", "rejoined", "left", "unavailable", "available", "blocked", "endpoint connected", "endpoint terminated",
		"self accused", "self absolved", "self sick", "self well", "self evicted",
	}
	if int(t) < len(words) {
		return words[t]
	}
	return words[0]
}

// Event is one thing that happened to the membership, as subscribers learn it.
type Event struct {
	Type   Type
	Member core.Member   // only the ID is set where no view has listed the member
	Before core.MemberID // with Rejoined: who was at the address
	Epoch  uint64        // of the view installed by then
	Reason string        // for people; may be empty
}

// Notice is what Events is told: Applied, Suspected, Cleared, EndpointUp, EndpointDown, or Self.
type Notice interface{ notice() }

// Applied is an Effect of the Reducer, whatever its outcome; it is to be told before the effect is
// carried out, so that no endpoint is heard of before its member.
type Applied struct{ Effect Effect }

// Suspected says that the detector suspects a member.
type Suspected struct{ ID core.MemberID }

// Cleared says that it does no more.
type Cleared struct{ ID core.MemberID }

// EndpointUp says that a link to a member opened. If no view has listed it yet, the event waits.
type EndpointUp struct{ ID core.MemberID }

// EndpointDown says that the endpoint of a member's stay has ended for good.
type EndpointDown struct{ ID core.MemberID }

// Self is what this member learned of itself: one of the types that begin with Self.
type Self struct {
	What   Type
	Reason string
}

func (Applied) notice()      {}
func (Suspected) notice()    {}
func (Cleared) notice()      {}
func (EndpointUp) notice()   {}
func (EndpointDown) notice() {}
func (Self) notice()         {}

// kept bounds the members that are remembered after they left, or before they came.
const kept = 1_024

// Events turns effects and notices into events: each once, in order. It is pure; one goroutine owns it,
// and publishes what it returns with no lock held.
type Events struct {
	self  core.MemberID
	epoch uint64
	by    map[core.MemberID]*stay
	gone  []core.MemberID // of by, who is not in the view; the oldest first
	said  map[Type]bool   // of this member: what is so now
}

// stay is what was told of one member.
type stay struct {
	member    core.Member
	listed    bool // in the view
	known     bool // some view has listed it
	up        bool // a link opened, and is told of or will be
	owed      int  // stays whose EndpointTerminated was not told
	suspected bool
	missing   bool
}

func (s *stay) unavailable() bool { return s.suspected || s.missing }

// NewEvents makes the Events of the member self; empty for a client.
func NewEvents(self core.MemberID) *Events {
	return &Events{self: self, by: map[core.MemberID]*stay{}, said: map[Type]bool{}}
}

// Step appends what n leads to.
func (e *Events) Step(n Notice, out []Event) []Event {
	switch n := n.(type) {
	case Applied:
		return e.effect(n.Effect, out)
	case Suspected:
		return e.doubt(n.ID, func(s *stay) { s.suspected = true }, out)
	case Cleared:
		return e.doubt(n.ID, func(s *stay) { s.suspected = false }, out)
	case EndpointUp:
		return e.up(n.ID, out)
	case EndpointDown:
		return e.down(n.ID, out)
	case Self:
		return e.own(n, out)
	}
	return out
}

func (e *Events) effect(f Effect, out []Event) []Event {
	if f.Topology.View != nil {
		e.epoch = f.Topology.View.Epoch()
	}
	for _, m := range f.Topology.Left {
		out = e.leave(m, out)
	}
	for _, id := range f.Blocked {
		out = append(out, e.event(Blocked, e.find(id).member))
	}
	at := e.addresses(f.Topology.Joined)
	for _, m := range f.Topology.Joined {
		out = e.join(m, at, out)
	}
	for _, m := range f.Topology.Changed {
		e.find(m.ID).member = m
	}
	for _, id := range f.Missing {
		out = e.doubt(id, func(s *stay) { s.missing = true }, out)
	}
	for _, id := range f.Returned {
		out = e.doubt(id, func(s *stay) { s.missing = false }, out)
	}
	return e.ofSelf(f, out)
}

// ofSelf tells what an effect means for this member.
func (e *Events) ofSelf(f Effect, out []Event) []Event {
	if slices.Contains(f.Accused, e.self) {
		out = e.own(Self{What: SelfAccused, Reason: "another member has banned this one"}, out)
	}
	if slices.Contains(f.Absolved, e.self) {
		out = e.own(Self{What: SelfAbsolved}, out)
	}
	if f.Outcome == Evicted {
		out = e.own(Self{What: SelfEvicted, Reason: f.Reason}, out)
	}
	return out
}

func (e *Events) leave(m core.Member, out []Event) []Event {
	s := e.find(m.ID)
	if !s.listed {
		return out
	}
	s.listed, s.suspected, s.missing = false, false, false
	e.remember(m.ID)
	return append(out, e.event(Left, s.member))
}

func (e *Events) join(m core.Member, at map[string]core.MemberID, out []Event) []Event {
	s := e.find(m.ID)
	if s.listed {
		return out
	}
	joined := e.event(Joined, m)
	if before := e.before(m, at); before != "" {
		joined.Type, joined.Before = Rejoined, before
	}
	e.gone = slices.DeleteFunc(e.gone, func(id core.MemberID) bool { return id == m.ID })
	early := s.up && s.owed == 0
	s.member, s.listed, s.known = m, true, true
	out = append(out, joined)
	if m.ID == e.self {
		return out
	}
	s.owed++
	if early {
		out = append(out, e.event(EndpointConnected, m))
	}
	return out
}

// before is who was at the address of m, if another was: whoever still is, or else who left last. at has
// those who are in the view.
func (e *Events) before(m core.Member, at map[string]core.MemberID) core.MemberID {
	present := at[m.Address]
	if present == "" || m.ID < present {
		at[m.Address] = m.ID
	}
	if present != "" {
		return present
	}
	for _, id := range slices.Backward(e.gone) {
		if s := e.by[id]; s.known && id != m.ID && s.member.Address == m.Address {
			return id
		}
	}
	return ""
}

// addresses are those of the members of the view, each with the smallest ID there; empty if nobody joins,
// since only joiners are looked up in it.
func (e *Events) addresses(joined []core.Member) map[string]core.MemberID {
	at := map[string]core.MemberID{}
	if len(joined) == 0 {
		return at
	}
	for id, s := range e.by {
		if old, taken := at[s.member.Address]; s.listed && (!taken || id < old) {
			at[s.member.Address] = id
		}
	}
	return at
}

// doubt changes what is held against a member of the view, and tells if that makes a difference.
func (e *Events) doubt(id core.MemberID, change func(*stay), out []Event) []Event {
	s := e.by[id]
	if s == nil || !s.listed || id == e.self {
		return out
	}
	was := s.unavailable()
	change(s)
	switch now := s.unavailable(); {
	case now && !was:
		return append(out, e.event(Unavailable, s.member))
	case was && !now:
		return append(out, e.event(Available, s.member))
	}
	return out
}

func (e *Events) up(id core.MemberID, out []Event) []Event {
	if id == e.self {
		return out
	}
	s := e.find(id)
	if s.up {
		return out
	}
	s.up = true
	if s.owed == 0 { // no view has listed it yet
		return out
	}
	return append(out, e.event(EndpointConnected, s.member))
}

func (e *Events) down(id core.MemberID, out []Event) []Event {
	s := e.by[id]
	if s == nil {
		return out
	}
	s.up = false
	if s.owed == 0 {
		return out
	}
	s.owed--
	return append(out, e.event(EndpointTerminated, s.member))
}

// own tells what this member learned of itself, unless that is known.
func (e *Events) own(n Self, out []Event) []Event {
	key, on := n.What, true
	switch n.What {
	case SelfAbsolved:
		key, on = SelfAccused, false
	case SelfWell:
		key, on = SelfSick, false
	}
	if e.said[key] == on {
		return out
	}
	e.said[key] = on
	event := e.event(n.What, e.find(e.self).member)
	event.Reason = n.Reason
	return append(out, event)
}

func (e *Events) event(t Type, m core.Member) Event { return Event{Type: t, Member: m, Epoch: e.epoch} }

// find is the stay of id; one that is new is remembered as not listed.
func (e *Events) find(id core.MemberID) *stay {
	s := e.by[id]
	if s == nil {
		s = &stay{member: core.Member{ID: id}}
		e.by[id] = s
		e.remember(id)
	}
	return s
}

// remember keeps one who is not in the view, and forgets the oldest of too many.
func (e *Events) remember(id core.MemberID) {
	e.gone = append(e.gone, id)
	if len(e.gone) > kept {
		delete(e.by, e.gone[0])
		e.gone = e.gone[1:]
	}
}
