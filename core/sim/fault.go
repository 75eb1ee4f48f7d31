package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is a letter of the alphabet of faults.
type Kind string

// The alphabet. What a fault does to a process is the world's; the rest Inject does.
const (
	Kill               Kind = "kill"               // a process ends at once
	Pause              Kind = "pause"              // it stands still for a while
	Cut                Kind = "cut"                // two machines are parted
	OneWayCut          Kind = "oneWayCut"          // one does not reach the other
	Delay              Kind = "delay"              // messages between two take longer
	Drop               Kind = "drop"               // some are lost
	Duplicate          Kind = "duplicate"          // some come twice
	Reorder            Kind = "reorder"            // some come behind later ones
	Outage             Kind = "providerOutage"     // the backend does not answer; data may be lost
	StaleRead          Kind = "staleRead"          // it answers from the past
	Flap               Kind = "flap"               // it loses a member from sight for a moment
	ClockFault         Kind = "clock"              // the clock of a machine is off, and goes wrong
	RestartSameAddress Kind = "restartSameAddress" // a process ends, or not, and another takes its address
	Leave              Kind = "leave"              // a member leaves in order
	Join               Kind = "join"               // one comes
	Stall              Kind = "stall"              // the connections of two machines are held, lost by one of them, and then go on
	Ban                Kind = "ban"                // a member refuses another by its ID, and takes that back, or not
)

// Alphabet lists all kinds.
func Alphabet() []Kind {
	return []Kind{Kill, Pause, Cut, OneWayCut, Delay, Drop, Duplicate, Reorder, Outage, StaleRead, Flap, ClockFault, RestartSameAddress, Leave, Join, Stall, Ban}
}

// Fault is one thing that goes wrong: At what time, for how long, between which machines, how badly.
type Fault struct {
	Kind Kind
	At   time.Duration
	For  time.Duration
	A, B int // machines; B is -1 for the backend
	X    int // in thousandths of the worst
}

// String is the fault in a few words.
func (f Fault) String() string {
	b := fmt.Sprint("n", f.B)
	if f.B < 0 {
		b = BackendName
	}
	s := fmt.Sprintf("%.3fs %s n%d", f.At.Seconds(), f.Kind, f.A)
	switch f.Kind {
	case Cut, OneWayCut, Delay, Drop, Duplicate, Reorder, Flap, Stall, Ban:
		s += "-" + b
	case Outage, StaleRead:
		s = fmt.Sprintf("%.3fs %s", f.At.Seconds(), f.Kind)
	}
	if f.For > 0 {
		s += fmt.Sprintf(" for %.3fs", f.For.Seconds())
	}
	return s + fmt.Sprintf(" x%d", f.X)
}

// Schedule is what goes wrong in one run, all of it drawn from the seed.
type Schedule struct {
	Seed   uint64
	Nodes  int // machines that may hold a member
	Start  int // of them, with one from the beginning
	Length time.Duration
	Faults []Fault // ascending by time
	Keep   []int   // which of the seed's faults these are; nil: all

	all []Fault // of the seed
}

// String lists the faults.
func (s Schedule) String() string {
	var out []string
	for _, f := range s.Faults {
		out = append(out, f.String())
	}
	if len(out) == 0 {
		return "no faults"
	}
	return strings.Join(out, "; ")
}

// Plan bounds what schedules are drawn.
type Plan struct {
	Kinds              []Kind
	Focus              []Kind // the only kinds of a share of the schedules
	FocusShare         int    // in thousandths
	LeastNodes, Nodes  int
	LeastFaults, Most  int
	Length             time.Duration // in which faults begin and end
	LongestFault       time.Duration
	BackendShare, Half int // thousandths: faults of links that are those to the backend; kinds that are off
}

// NewSchedule draws the schedule of a seed. A random share of the kinds is off, so that rare meetings of
// the others are not drowned.
func NewSchedule(seed uint64, p Plan) Schedule {
	rng := Rand(seed, "schedule")
	s := Schedule{Seed: seed, Length: p.Length}
	s.Nodes = p.LeastNodes + rng.IntN(p.Nodes-p.LeastNodes+1)
	s.Start = max(1, s.Nodes-rng.IntN(3))
	var on []Kind
	kinds := p.Kinds
	if rng.IntN(1000) < p.FocusShare {
		kinds = p.Focus
	}
	for _, k := range kinds {
		if rng.IntN(1000) >= p.Half {
			on = append(on, k)
		}
	}
	if len(on) == 0 {
		return s
	}
	for range p.LeastFaults + rng.IntN(p.Most-p.LeastFaults+1) {
		s.Faults = append(s.Faults, p.draw(rng, on[rng.IntN(len(on))], s.Nodes))
	}
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	s.all = s.Faults
	return s
}

func (p Plan) draw(rng *rand.Rand, k Kind, nodes int) Fault {
	f := Fault{Kind: k, A: rng.IntN(nodes), X: rng.IntN(1000)}
	f.At = time.Duration(rng.Int64N(int64(p.Length * 9 / 10)))
	f.B = (f.A + 1 + rng.IntN(max(1, nodes-1))) % nodes
	if rng.IntN(1000) < p.BackendShare || nodes == 1 {
		f.B = -1
	}
	length := time.Duration(rng.Int64N(int64(p.LongestFault)))
	switch k {
	case Kill, Leave, Join, RestartSameAddress:
		return f
	case Flap:
		length /= 8
		f.B = (f.A + 1) % nodes
	case Ban:
		length /= 2
		f.B = (f.A + 1) % nodes
	}
	f.For = min(length, p.Length-f.At)
	return f
}

// Only is the schedule with the faults of its seed at these places alone, ascending.
func (s Schedule) Only(places []int) Schedule {
	s.Faults, s.Keep = nil, append([]int{}, places...)
	for _, i := range places {
		if i >= 0 && i < len(s.all) {
			s.Faults = append(s.Faults, s.all[i])
		}
	}
	return s
}

// Parted counts the machines, the backend among them as two, between which and machine i something was wrong
// with a link at some time from from to until.
func (s Schedule) Parted(i int, from, until time.Duration) int {
	others := map[int]bool{}
	for _, f := range s.Faults {
		switch f.Kind {
		case Cut, OneWayCut, Delay, Drop, Duplicate, Reorder:
		default:
			continue
		}
		switch {
		case f.At > until || f.At+f.For < from:
		case f.A == i:
			others[f.B] = true
		case f.B == i:
			others[f.A] = true
		}
	}
	if others[-1] {
		return len(others) + 1
	}
	return len(others)
}
