package remote

import "time"

// connector decides when a peer is dialled: at once at first, then after pauses that double, with
// jitter. It is a pure machine: events in, effects out, no clock and no chance of its own.
type connector struct {
	min, max time.Duration
	jitter   func() float64 // in [0, 1)

	state    linkState
	failures int       // dials in a row that did not lead to a lasting link
	opened   time.Time // when the present link opened
}

type linkState uint8

const (
	linkIdle    linkState = iota // nothing was asked for
	linkDialing                  // a dial is under way
	linkOpen                     // there is a link
	linkWaiting                  // for the next dial
	linkClosed                   // for good
)

// String names the state.
func (s linkState) String() string {
	return [...]string{"idle", "dialing", "open", "waiting", "closed"}[s]
}

type linkEvent uint8

const (
	evStart  linkEvent = iota // a link is wanted from now on
	evOpened                  // the dial led to a link
	evFailed                  // the dial failed
	evFinal                   // the dial failed, and soon again will not help
	evLost                    // the link ended
	evTimer                   // the pause is over
	evClose                   // no link is wanted any more
)

// effects are what the shell is to do, in this order.
type effects struct {
	end   bool          // end the link, or the dial
	pause time.Duration // start the timer for the next dial; 0: none
	stop  bool          // stop the timer
	dial  bool          // begin a dial
}

// lasting is how long a link must have lived for its end to be no failure: then it is dialled again
// without a pause.
const lasting = time.Second

// Step takes one event at a time.
func (m *connector) Step(now time.Time, ev linkEvent) effects {
	if m.state == linkClosed {
		return effects{end: ev == evOpened}
	}
	switch ev {
	case evStart:
		if m.state == linkIdle {
			return m.dial()
		}
	case evOpened:
		if m.state != linkDialing {
			return effects{end: true}
		}
		m.state, m.opened = linkOpen, now
	case evFailed, evFinal:
		if m.state != linkDialing {
			return effects{}
		}
		return m.pause(ev == evFinal)
	case evLost:
		if m.state != linkOpen {
			return effects{}
		}
		if now.Sub(m.opened) >= lasting {
			m.failures = 0
			return m.dial()
		}
		return m.pause(false)
	case evTimer:
		if m.state == linkWaiting {
			return m.dial()
		}
	case evClose:
		waiting := m.state == linkWaiting
		m.state = linkClosed
		return effects{end: true, stop: waiting}
	}
	return effects{}
}

func (m *connector) dial() effects {
	m.state = linkDialing
	return effects{dial: true}
}

func (m *connector) pause(final bool) effects {
	m.state = linkWaiting
	d := m.min << min(m.failures, 20)
	if d > m.max || d <= 0 || final {
		d = m.max
	}
	m.failures++
	return effects{pause: d/2 + time.Duration(m.jitter()*float64(d/2))}
}
