package sim

import (
	"fmt"
	"time"
)

// Machine is the name of a machine on the Net.
func Machine(i int) string { return fmt.Sprint("n", i) }

// Target is what a world does about the faults of processes. The Net and the Backend have theirs done
// by Inject.
type Target interface {
	// Begin lets f happen, if it can: a process that does not run cannot be killed. The function that
	// it returns, if any, is called when f is over.
	Begin(f Fault) (end func(), happened bool)
}

// The worst that links and clocks do.
const (
	worstDelay  = 300 * time.Millisecond
	worstDrop   = 300 // thousandths
	worstDouble = 400
	worstOrder  = 600
)

// Inject arranges for all faults of s to happen and end in their time; faults counts them by kind as
// they do.
func Inject(h *Heap, n *Net, b *Backend, s Schedule, t Target, faults Tally) {
	for _, f := range s.Faults {
		h.After(f.At-h.now, func() {
			end, happened := begin(n, b, f, t)
			if !happened {
				return
			}
			faults[string(f.Kind)]++
			if end != nil {
				h.After(f.For, end)
			}
		})
	}
}

func begin(n *Net, b *Backend, f Fault, t Target) (end func(), happened bool) {
	a, z := Machine(f.A), BackendName
	if f.B >= 0 {
		z = Machine(f.B)
	}
	switch f.Kind {
	case Cut:
		n.Cut(a, z)
		n.Cut(z, a)
		return func() { n.Mend(a, z); n.Mend(z, a) }, true
	case OneWayCut:
		if f.X%2 == 0 {
			a, z = z, a
		}
		n.Cut(a, z)
		return func() { n.Mend(a, z) }, true
	case Delay, Drop, Duplicate, Reorder:
		end1, end2 := n.worsen(a, z, f), n.worsen(z, a, f)
		return func() { end1(); end2() }, true
	case Outage:
		b.Fail()
		if f.X >= 750 {
			b.Wipe()
		}
		return b.Repair, true
	case StaleRead:
		b.Stale()
		return b.Fresh, true
	}
	return t.Begin(f)
}

// worsen makes one direction bad, and gives how it is made good again.
func (n *Net) worsen(from, to string, f Fault) (end func()) {
	l := n.Link(from, to)
	part := func(worst int) int { return 1 + worst*f.X/1000 }
	switch f.Kind {
	case Delay:
		d := worstDelay * time.Duration(f.X) / 1000
		l.Delay, l.Jitter = l.Delay+d, l.Jitter+d
		return func() { l.Delay, l.Jitter = l.Delay-d, l.Jitter-d }
	case Drop:
		p := part(worstDrop)
		l.Drop += p
		return func() { l.Drop -= p }
	case Duplicate:
		p := part(worstDouble)
		l.Duplicate += p
		return func() { l.Duplicate -= p }
	default:
		p := part(worstOrder)
		l.Reorder += p
		return func() { l.Reorder -= p }
	}
}
