package gossip

import (
	"fmt"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// maxChecks bounds the checks of one Machine.
const maxChecks = 64

// Check asks whether all members of the present view say the same under one key. It is made by
// NewCheck and handed to one or more Machines.
type Check struct {
	name, key string
	extract   func(core.Message) (any, bool)
}

// NewCheck makes a check of what extract finds in the values of key. Where extract says false, and
// where a member has no value, there is no agreement. extract runs once for each new value of a
// member, on the goroutine of the Machine; it does not block. If it panics, or finds
// what cannot be compared or does not equal itself, the value counts for nothing.
func NewCheck[T comparable](name, key string, extract func(core.Message) (T, bool)) *Check {
	return &Check{name: name, key: key, extract: func(v core.Message) (value any, ok bool) {
		defer func() {
			if recover() != nil {
				value, ok = nil, false
			}
		}()
		value, ok = extract(v)
		return value, ok && value == value // panics here and not later, if T only looks comparable
	}}
}

// AddCheck begins to evaluate c. Its outcome can be read at once; changes from now on are told by
// Agreement.
func (m *Machine) AddCheck(c *Check) error {
	if m.find(c.name) >= 0 {
		return fmt.Errorf("consensus check %q: the name is taken: %w", c.name, core.ErrConflict)
	}
	if len(m.checks) == maxChecks {
		return fmt.Errorf("consensus check %q: there are %d already: %w", c.name, maxChecks, core.ErrOverloaded)
	}
	k := &check{Check: c}
	for _, e := range m.order {
		if i, found := e.find(c.key); found {
			k.note(e, e.values[i])
		}
	}
	k.value, k.agreed = k.outcome(m)
	k.stale = false
	m.checks = append(m.checks, k)
	return nil
}

// RemoveCheck ends the check of that name, if there is one.
func (m *Machine) RemoveCheck(name string) {
	if i := m.find(name); i >= 0 {
		m.checks = append(m.checks[:i:i], m.checks[i+1:]...)
	}
}

// Agreed is what all members of the view say, by the check of that name, and whether they do.
func (m *Machine) Agreed(name string) (value any, agreed bool) {
	if i := m.find(name); i >= 0 {
		return m.checks[i].value, m.checks[i].agreed
	}
	return nil, false
}

func (m *Machine) find(name string) int {
	for i, c := range m.checks {
		if c.name == name {
			return i
		}
	}
	return -1
}

// check is a Check at work: what each member says, and the outcome.
type check struct {
	*Check
	said   []said // by slot
	stale  bool   // something that the outcome rests on has changed
	value  any
	agreed bool
}

// said is what one member says; ok is false for nothing.
type said struct {
	value any
	ok    bool
}

// note takes the new value of one of e's keys.
func (c *check) note(e *entry, v Value) {
	if v.Key != c.key {
		return
	}
	for e.slot >= len(c.said) {
		c.said = append(c.said, said{})
	}
	value, ok := c.extract(v.Message)
	c.said[e.slot] = said{value, ok}
	c.stale = true
}

// forget takes out what e said.
func (c *check) forget(e *entry) {
	if e.slot < len(c.said) {
		c.said[e.slot] = said{}
	}
	c.stale = true
}

// outcome asks every member of the present view, blocked ones too: they say nothing.
func (c *check) outcome(m *Machine) (value any, agreed bool) {
	for i, id := range m.view {
		e := m.entries[id]
		if simbug.On("consensus-skips-silent") && (e == nil || e.slot >= len(c.said) || !c.said[e.slot].ok) {
			continue
		}
		if e == nil || e.slot >= len(c.said) || !c.said[e.slot].ok {
			return nil, false
		}
		if i > 0 && c.said[e.slot].value != value {
			return nil, false
		}
		value = c.said[e.slot].value
	}
	return value, len(m.view) > 0
}

// suspectChecks marks all outcomes as possibly changed.
func (m *Machine) suspectChecks() {
	for _, c := range m.checks {
		c.stale = true
	}
}

// judge evaluates the checks anew whose outcome may have changed, and tells of changes.
func (m *Machine) judge() {
	for _, c := range m.checks {
		if !c.stale {
			continue
		}
		c.stale = false
		value, agreed := c.outcome(m)
		if agreed != c.agreed || value != c.value {
			c.value, c.agreed = value, agreed
			m.emit(Agreement{Check: c.name, Value: value, Agreed: agreed})
		}
	}
}
