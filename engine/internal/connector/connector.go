// Package connector decides when a peer is dialled. It is a pure machine: events in, effects out, no
// clock and no chance of its own, so that simulations run the very code that ships.
package connector

import (
	"time"

	"github.com/granary-go/granary/core/simbug"
)

// Machine decides when a peer is dialled: at once at first, then after pauses that double, with
// jitter. It is a pure machine: events in, effects out, no clock and no chance of its own.
// New makes one; one goroutine owns it.
type Machine struct {
	min, max time.Duration
	jitter   func() float64

	state    State
	failures int       // dials in a row that did not lead to a lasting link
	opened   time.Time // when the present link opened
}

// New makes a machine whose pauses grow from least to most; jitter gives numbers in [0, 1).
func New(least, most time.Duration, jitter func() float64) *Machine {
	return &Machine{min: least, max: most, jitter: jitter}
}

// State is where the machine is.
func (m *Machine) State() State { return m.state }

// State is the stage of a link.
type State uint8

// The stages.
const (
	Idle    State = iota // nothing was asked for
	Dialing              // a dial is under way
	Open                 // there is a link
	Waiting              // for the next dial
	Closed               // for good
)

// String names the state.
func (s State) String() string {
	return [...]string{"idle", "dialing", "open", "waiting", "closed"}[s]
}

// Event is what happened to a link.
type Event uint8

// The events.
const (
	Start  Event = iota // a link is wanted from now on
	Opened              // the dial led to a link
	Failed              // the dial failed
	Final               // the dial failed, and soon again will not help
	Lost                // the link ended
	Timer               // the pause is over
	Close               // no link is wanted any more
)

// Effects are what the shell is to do, in this order.
type Effects struct {
	End   bool          // end the link, or the dial
	Pause time.Duration // start the timer for the next dial; 0: none
	Stop  bool          // stop the timer
	Dial  bool          // begin a dial
}

// Lasting is how long a link must have lived for its end to be no failure: then it is dialled again
// without a pause.
const Lasting = time.Second

// Step takes one event at a time.
func (m *Machine) Step(now time.Time, ev Event) Effects {
	if m.state == Closed {
		return Effects{End: ev == Opened}
	}
	switch ev {
	case Start:
		if m.state == Idle {
			return m.dial()
		}
	case Opened:
		if m.state != Dialing {
			return Effects{End: true}
		}
		m.state, m.opened = Open, now
	case Failed, Final:
		if m.state != Dialing {
			return Effects{}
		}
		return m.pause(ev == Final)
	case Lost:
		if m.state != Open {
			return Effects{}
		}
		if now.Sub(m.opened) >= Lasting {
			m.failures = 0
			return m.dial()
		}
		return m.pause(false)
	case Timer:
		if m.state == Waiting {
			return m.dial()
		}
	case Close:
		waiting := m.state == Waiting
		if !simbug.On("connector-dials-after-close") {
			m.state = Closed
		}
		return Effects{End: true, Stop: waiting}
	}
	return Effects{}
}

func (m *Machine) dial() Effects {
	m.state = Dialing
	return Effects{Dial: true}
}

func (m *Machine) pause(final bool) Effects {
	m.state = Waiting
	d := m.min << min(m.failures, 20)
	if d > m.max || d <= 0 || final {
		d = m.max
	}
	m.failures++
	return Effects{Pause: d/2 + time.Duration(m.jitter()*float64(d/2))}
}
