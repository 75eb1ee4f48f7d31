package remote

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestConnector(t *testing.T) {
	const lo, hi = 20 * time.Millisecond, 100 * time.Millisecond
	type step struct {
		after time.Duration
		ev    linkEvent
		want  effects
		state linkState
	}
	dial := effects{dial: true}
	tests := map[string][]step{
		"dials at once": {{0, evStart, dial, linkDialing}},
		"pauses double up to the greatest": {
			{0, evStart, dial, linkDialing},
			{0, evFailed, effects{pause: 10 * time.Millisecond}, linkWaiting},
			{0, evTimer, dial, linkDialing},
			{0, evFailed, effects{pause: 20 * time.Millisecond}, linkWaiting},
			{0, evTimer, dial, linkDialing},
			{0, evFailed, effects{pause: 40 * time.Millisecond}, linkWaiting},
			{0, evTimer, dial, linkDialing},
			{0, evFailed, effects{pause: 50 * time.Millisecond}, linkWaiting},
		},
		"a final refusal waits longest": {
			{0, evStart, dial, linkDialing},
			{0, evFinal, effects{pause: 50 * time.Millisecond}, linkWaiting},
		},
		"a lasting link is dialled again at once": {
			{0, evStart, dial, linkDialing},
			{0, evFailed, effects{pause: 10 * time.Millisecond}, linkWaiting},
			{0, evTimer, dial, linkDialing},
			{0, evOpened, effects{}, linkOpen},
			{lasting, evLost, dial, linkDialing},
			{0, evFailed, effects{pause: 10 * time.Millisecond}, linkWaiting},
		},
		"a link that ends at once is a failure": {
			{0, evStart, dial, linkDialing},
			{0, evOpened, effects{}, linkOpen},
			{lasting - 1, evLost, effects{pause: 10 * time.Millisecond}, linkWaiting},
			{0, evTimer, dial, linkDialing},
			{0, evOpened, effects{}, linkOpen},
			{0, evLost, effects{pause: 20 * time.Millisecond}, linkWaiting},
		},
		"closed while waiting": {
			{0, evStart, dial, linkDialing},
			{0, evFailed, effects{pause: 10 * time.Millisecond}, linkWaiting},
			{0, evClose, effects{end: true, stop: true}, linkClosed},
			{0, evTimer, effects{}, linkClosed},
			{0, evStart, effects{}, linkClosed},
		},
		"closed while dialling ends a link that opens": {
			{0, evStart, dial, linkDialing},
			{0, evClose, effects{end: true}, linkClosed},
			{0, evOpened, effects{end: true}, linkClosed},
		},
		"events out of turn": {
			{0, evLost, effects{}, linkIdle},
			{0, evTimer, effects{}, linkIdle},
			{0, evFailed, effects{}, linkIdle},
			{0, evOpened, effects{end: true}, linkIdle},
			{0, evStart, dial, linkDialing},
			{0, evStart, effects{}, linkDialing},
			{0, evTimer, effects{}, linkDialing},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			m := connector{min: lo, max: hi, jitter: func() float64 { return 0 }}
			now := time.Unix(0, 0)
			for i, s := range steps {
				now = now.Add(s.after)
				if got := m.Step(now, s.ev); got != s.want || m.state != s.state {
					t.Fatalf("step %d: %+v in state %v, want %+v in %v", i, got, m.state, s.want, s.state)
				}
			}
		})
	}
}

// Whatever happens: pauses stay within their bounds, a dial is never begun while another is under way
// or a link is open, and after the close nothing begins.
func TestConnectorInvariants(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := connector{min: 20 * time.Millisecond, max: 2 * time.Second, jitter: rnd.Float64}
		now, busy, closed := time.Unix(0, 0), false, false
		for range 200 {
			ev := linkEvent(rnd.IntN(int(evClose) + 1))
			if ev == evClose && rnd.IntN(20) > 0 {
				ev = evTimer
			}
			now = now.Add(time.Duration(rnd.Int64N(int64(3 * time.Second))))
			before := m.state
			do := m.Step(now, ev)
			if do.pause != 0 && (do.pause < 10*time.Millisecond || do.pause > 2*time.Second) {
				t.Fatalf("seed %d: pause of %v", seed, do.pause)
			}
			if before == linkDialing && (ev == evFailed || ev == evFinal) || before == linkOpen && ev == evLost {
				busy = false
			}
			if do.dial && (busy || closed) {
				t.Fatalf("seed %d: %v in state %v dials, busy %v, closed %v", seed, ev, before, busy, closed)
			}
			busy = busy || do.dial
			closed = closed || ev == evClose
		}
	}
}
