package nodes

import (
	"fmt"
	"time"

	"github.com/granary-go/granary/core/sim"
)

// link is one direction between two machines, -1 being the provider's.
type link struct {
	cuts  int
	extra time.Duration // besides the usual delay
}

// provider is the provider's machine.
const provider = -1

func (w *world) linkLocked(a, b int) *link {
	key := [2]int{a, b}
	l := w.links[key]
	if l == nil {
		l = &link{}
		w.links[key] = l
	}
	return l
}

// usual is the delay of a link when nothing is wrong: each has its own, by which what two nodes send to a
// third does not arrive at one instant.
func (w *world) usual(a, b int) time.Duration {
	rng := w.rand(fmt.Sprint("link.", a, ".", b))
	return 200*time.Microsecond + time.Duration(rng.Int64N(int64(3*time.Millisecond)))
}

// beginLink is what happens to a link, both of its directions or one.
func (w *world) beginLink(f sim.Fault, i int) (end func(), happened bool) {
	a, b := f.A, f.B
	if b == provider {
		if f.Kind != sim.Cut && f.Kind != sim.OneWayCut {
			return nil, false // the provider's are slow or parted, never lossy
		}
		w.change(a, provider, 1, 0)
		return func() { w.change(a, provider, -1, 0) }, true
	}
	switch f.Kind {
	case sim.Cut:
		return w.both(a, b, 1, 0)
	case sim.OneWayCut:
		if f.X%2 == 0 {
			a, b = b, a
		}
		w.change(a, b, 1, 0)
		return func() { w.change(a, b, -1, 0) }, true
	case sim.Delay:
		return w.both(a, b, 0, 1+worstDelay*time.Duration(f.X)/1000)
	case sim.Drop:
		w.tremble(f, i, lossSlot, 300*f.X/1000, func(int64) time.Duration { return retransmit })
	default:
		w.tremble(f, i, orderSlot, 600, func(x int64) time.Duration { return 1 + worstOrder*time.Duration(x)/1000 })
	}
	return nil, true
}

// stall holds what one process has sent another on the connections of the two. After a while the sender loses
// them, and makes others; at the end what was held arrives.
func (w *world) stall(f sim.Fault) (end func(), happened bool) {
	if f.B == provider {
		return nil, false
	}
	w.mu.Lock()
	from, to := w.machines[f.A].cur, w.machines[f.B].cur
	w.mu.Unlock()
	if from == nil || to == nil || from.number < 0 || to.number < 0 {
		return nil, false
	}
	held := w.cluster.Network.Stall(sim.Machine(from.number), sim.Machine(to.number))
	w.after(f.For*time.Duration(f.X)/1000, held.Break)
	return held.Release, true
}

func (w *world) both(a, b, cuts int, extra time.Duration) (end func(), happened bool) {
	w.change(a, b, cuts, extra)
	w.change(b, a, cuts, extra)
	return func() {
		w.change(a, b, -cuts, -extra)
		w.change(b, a, -cuts, -extra)
	}, true
}

// tremble makes a link late in a share of the slots of the fault's time, in thousandths, each direction for
// itself. What is late holds up what follows, as in any stream.
func (w *world) tremble(f sim.Fault, i int, slot time.Duration, share int, by func(x int64) time.Duration) {
	rng := w.rand(fmt.Sprint("tremble.", f.At, f.Kind, f.A, f.B))
	for at := time.Duration(0); at+slot < f.For; at += slot {
		for _, way := range [][2]int{{f.A, f.B}, {f.B, f.A}} {
			hit, x, off := rng.IntN(1000) < share, rng.Int64N(1000), time.Duration(rng.Int64N(int64(slot/4)))
			if !hit {
				continue
			}
			d := by(x)
			w.after(at+off, func() {
				w.change(way[0], way[1], 0, d)
				w.after(slot/2, func() { w.change(way[0], way[1], 0, -d) })
			})
		}
	}
}

// change changes a link, and lets the processes at its ends feel it.
func (w *world) change(a, b, cuts int, extra time.Duration) {
	w.mu.Lock()
	l := w.linkLocked(a, b)
	was := l.cuts > 0
	l.cuts += cuts
	l.extra += extra
	is := l.cuts > 0
	var p *process
	if b == provider {
		p = w.machines[a].cur
	}
	w.mu.Unlock()
	switch {
	case b != provider:
		w.apply(a, b)
	case p == nil || p.number < 0 || was == is:
	case is:
		w.cluster.CutProvider(p.number)
	default:
		w.cluster.HealProvider(p.number)
	}
}

func (w *world) providerCut(a int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.linkLocked(a, provider).cuts > 0
}

// apply has the network know the state of a link, for the processes that are there.
func (w *world) apply(a, b int) {
	w.mu.Lock()
	l := *w.linkLocked(a, b)
	from, to := w.machines[a].cur, w.machines[b].cur
	w.mu.Unlock()
	if a == b || from == nil || to == nil || from.number < 0 || to.number < 0 {
		return
	}
	x, y := sim.Machine(from.number), sim.Machine(to.number) // as the kit names hosts
	w.cluster.Network.Slow(x, y, w.usual(a, b)+l.extra)
	if l.cuts > 0 {
		w.cluster.Network.Cut(x, y)
	} else {
		w.cluster.Network.Heal(x, y)
	}
}
