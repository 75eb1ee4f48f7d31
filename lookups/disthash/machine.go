package disthash

import (
	"time"

	"github.com/granary-go/granary/core"
)

// Machine is what a Lookup decides by, without its goroutines and messages: who owns an identity, and
// whether another member may still run it. It is for simulations and for tools that ask what a change
// would move; nodes use Lookup. One goroutine owns it.
type Machine struct {
	self     core.MemberID
	patience time.Duration
	state    *state
}

// NewMachine makes the machine of one member, before its first view. handover is
// Config.HandoverTimeout; 0 means its default.
func NewMachine(self core.MemberID, handover time.Duration) *Machine {
	if handover == 0 {
		handover = defaultHandoverTimeout
	}
	return &Machine{self: self, patience: handover}
}

// Install makes v the view by which the machine judges, as Lookup.Reshape does.
func (m *Machine) Install(v *core.View, now time.Time) {
	m.state = m.state.next(m.self, newTable(v, false), false, now, m.patience)
}

// Owner is Lookup.Owner.
func (m *Machine) Owner(id core.Identity) (core.Member, bool) {
	if m.state == nil {
		return core.Member{}, false
	}
	owner, ok := m.state.now.owner(id)
	if !ok {
		return core.Member{}, false
	}
	return *owner, true
}

// Owns reports whether this member owns id.
func (m *Machine) Owns(id core.Identity) bool {
	return m.state != nil && m.state.now.owns(m.self, id)
}

// Held is Lookup.Held.
func (m *Machine) Held(id core.Identity) bool {
	return !m.Owns(id) || m.state.held(id)
}

// Waiting lists the members who have yet to say that they have stopped what they lost, ascending.
func (m *Machine) Waiting() []core.MemberID {
	if m.state == nil {
		return nil
	}
	ids, _ := m.state.waiting()
	return ids
}

// Settled says that these members have stopped what they lost with the installed view.
func (m *Machine) Settled(now time.Time, ids ...core.MemberID) {
	if m.state != nil {
		m.state = m.state.settled(now, ids...)
	}
}

// Overdue lists the members who were waited for long enough: they are given up by Settled.
func (m *Machine) Overdue(now time.Time) []core.MemberID {
	if m.state == nil {
		return nil
	}
	return m.state.overdue(now)
}

// Tables is how many views back the machine remembers; it is bounded.
func (m *Machine) Tables() int {
	if m.state == nil {
		return 0
	}
	return len(m.state.before)
}
