package connector

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestConnector(t *testing.T) {
	const lo, hi = 20 * time.Millisecond, 100 * time.Millisecond
	type step struct {
		after time.Duration
		ev    Event
		want  Effects
		state State
	}
	dial := Effects{Dial: true}
	tests := map[string][]step{
		"dials at once": {{0, Start, dial, Dialing}},
		"pauses double up to the greatest": {
			{0, Start, dial, Dialing},
			{0, Failed, Effects{Pause: 10 * time.Millisecond}, Waiting},
			{0, Timer, dial, Dialing},
			{0, Failed, Effects{Pause: 20 * time.Millisecond}, Waiting},
			{0, Timer, dial, Dialing},
			{0, Failed, Effects{Pause: 40 * time.Millisecond}, Waiting},
			{0, Timer, dial, Dialing},
			{0, Failed, Effects{Pause: 50 * time.Millisecond}, Waiting},
		},
		"a final refusal waits longest": {
			{0, Start, dial, Dialing},
			{0, Final, Effects{Pause: 50 * time.Millisecond}, Waiting},
		},
		"a lasting link is dialled again at once": {
			{0, Start, dial, Dialing},
			{0, Failed, Effects{Pause: 10 * time.Millisecond}, Waiting},
			{0, Timer, dial, Dialing},
			{0, Opened, Effects{}, Open},
			{Lasting, Lost, dial, Dialing},
			{0, Failed, Effects{Pause: 10 * time.Millisecond}, Waiting},
		},
		"a link that ends at once is a failure": {
			{0, Start, dial, Dialing},
			{0, Opened, Effects{}, Open},
			{Lasting - 1, Lost, Effects{Pause: 10 * time.Millisecond}, Waiting},
			{0, Timer, dial, Dialing},
			{0, Opened, Effects{}, Open},
			{0, Lost, Effects{Pause: 20 * time.Millisecond}, Waiting},
		},
		"closed while waiting": {
			{0, Start, dial, Dialing},
			{0, Failed, Effects{Pause: 10 * time.Millisecond}, Waiting},
			{0, Close, Effects{End: true, Stop: true}, Closed},
			{0, Timer, Effects{}, Closed},
			{0, Start, Effects{}, Closed},
		},
		"closed while dialling ends a link that opens": {
			{0, Start, dial, Dialing},
			{0, Close, Effects{End: true}, Closed},
			{0, Opened, Effects{End: true}, Closed},
		},
		"events out of turn": {
			{0, Lost, Effects{}, Idle},
			{0, Timer, Effects{}, Idle},
			{0, Failed, Effects{}, Idle},
			{0, Opened, Effects{End: true}, Idle},
			{0, Start, dial, Dialing},
			{0, Start, Effects{}, Dialing},
			{0, Timer, Effects{}, Dialing},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			m := New(lo, hi, func() float64 { return 0 })
			now := time.Unix(0, 0)
			for i, s := range steps {
				now = now.Add(s.after)
				if got := m.Step(now, s.ev); got != s.want || m.State() != s.state {
					t.Fatalf("step %d: %+v in state %v, want %+v in %v", i, got, m.State(), s.want, s.state)
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
		m := New(20*time.Millisecond, 2*time.Second, rnd.Float64)
		now, busy, closed := time.Unix(0, 0), false, false
		for range 200 {
			ev := Event(rnd.IntN(int(Close) + 1))
			if ev == Close && rnd.IntN(20) > 0 {
				ev = Timer
			}
			now = now.Add(time.Duration(rnd.Int64N(int64(3 * time.Second))))
			before := m.State()
			do := m.Step(now, ev)
			if do.Pause != 0 && (do.Pause < 10*time.Millisecond || do.Pause > 2*time.Second) {
				t.Fatalf("seed %d: pause of %v", seed, do.Pause)
			}
			if before == Dialing && (ev == Failed || ev == Final) || before == Open && ev == Lost {
				busy = false
			}
			if do.Dial && (busy || closed) {
				t.Fatalf("seed %d: %v in state %v dials, busy %v, closed %v", seed, ev, before, busy, closed)
			}
			busy = busy || do.Dial
			closed = closed || ev == Close
		}
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[State]string{Idle: "idle", Dialing: "dialing", Open: "open", Waiting: "waiting", Closed: "closed"} {
		if s.String() != want {
			t.Errorf("%v, want %q", s, want)
		}
	}
}
