package nodes

import (
	"time"

	"github.com/granary-go/granary/core/sim"
)

// The worst that links do.
const (
	worstDelay = 300 * time.Millisecond
	worstOrder = 60 * time.Millisecond
	retransmit = 200 * time.Millisecond // of what was lost
	lossSlot   = 40 * time.Millisecond  // in which something is lost or not
	orderSlot  = 15 * time.Millisecond
	lastBan    = 18 * time.Second // when the last may begin
)

// inject arranges for all faults to happen and end in their time.
func (w *world) inject() {
	for i, f := range w.schedule.Faults {
		w.after(f.At, func() {
			end, happened := w.begin(f, i)
			if !happened {
				return
			}
			w.mu.Lock()
			w.out.Faults[string(f.Kind)]++
			w.eventLocked("world", "fault", f.String())
			w.mu.Unlock()
			if end != nil {
				w.after(f.For, end)
			}
		})
	}
}

// begin lets a fault happen, if it can. i tells it from others.
func (w *world) begin(f sim.Fault, i int) (end func(), happened bool) {
	switch f.Kind {
	case sim.Cut, sim.OneWayCut, sim.Delay, sim.Drop, sim.Reorder:
		return w.beginLink(f, i)
	case sim.Outage:
		w.provide(&w.outages, w.cluster.CutProvider)
		return func() { w.unprovide(&w.outages, w.cluster.HealProvider) }, true
	case sim.StaleRead:
		w.provide(&w.stales, w.cluster.StaleProvider)
		return func() { w.unprovide(&w.stales, w.cluster.FreshProvider) }, true
	case sim.Stall:
		return w.stall(f)
	case sim.ClockFault:
		return w.setClock(f)
	case sim.Join:
		return nil, w.join(w.machines[f.A])
	}
	return w.beginProcess(f)
}

// setClock has the wall clock of a machine jump, by an hour at most, until it jumps again, and its clocks run
// fast or slow for a while.
func (w *world) setClock(f sim.Fault) (end func(), happened bool) {
	w.mu.Lock()
	s := &w.shifts[f.A]
	s.ahead = time.Duration(f.X-500) * 7200 * time.Millisecond
	s.rate = 0.9 + 0.2*float64(f.X)/1000
	p := w.machines[f.A].cur
	w.mu.Unlock()
	if p == nil || p.number < 0 {
		return nil, false
	}
	w.tellClock(p)
	return func() {
		w.mu.Lock()
		s.rate = 1
		p := w.machines[f.A].cur
		w.mu.Unlock()
		if p != nil && p.number >= 0 {
			w.tellClock(p)
		}
	}, true
}

// tellClock sets the clocks of a process as they are on its machine.
func (w *world) tellClock(p *process) {
	w.mu.Lock()
	s := w.shifts[p.m.index]
	w.mu.Unlock()
	w.cluster.SetClock(p.number, s.ahead)
	w.cluster.SetRate(p.number, s.rate)
}

func (w *world) join(m *machine) bool {
	if !w.free(m) {
		return false
	}
	w.boot(m)
	return true
}

// beginProcess is what happens to the process that runs on a machine, if one does.
func (w *world) beginProcess(f sim.Fault) (end func(), happened bool) {
	m := w.machines[f.A]
	w.mu.Lock()
	p := m.cur
	if p == nil || p.dead || p.number < 0 {
		w.mu.Unlock()
		return nil, false
	}
	w.mu.Unlock()
	again := time.Duration(f.X)*3*time.Millisecond + p.phase(time.Millisecond)
	switch f.Kind {
	case sim.Kill:
		w.kill(p)
		w.bootLater(m, again)
	case sim.Pause:
		return w.pause(p)
	case sim.Leave:
		w.tasks.Go(func() { w.leave(p, "") })
	case sim.RestartSameAddress:
		w.restart(p, f.X%2 == 0, again)
	case sim.Flap:
		w.cluster.CutProvider(p.number)
		return func() { w.cluster.HealProvider(p.number) }, true
	case sim.Ban:
		return w.ban(p, f)
	}
	return nil, true
}

// ban has p refuse another member by its ID for the time of the fault, and take it back, or wait until it ends. It
// begins as long before all is to be well as what others have heard of it may last.
func (w *world) ban(p *process, f sim.Fault) (end func(), happened bool) {
	w.mu.Lock()
	o := w.machines[f.B].cur
	w.mu.Unlock()
	if o == nil || o == p || f.At > lastBan {
		return nil, false
	}
	lifted := f.X%8 > 0
	d := f.For + time.Millisecond
	if lifted {
		d *= 2
	}
	w.mu.Lock()
	w.ledger.banned[o.id] = true
	w.mu.Unlock()
	if err := p.node.Block(o.id, d, "a fault"); err != nil { // it does not run yet, or no more
		return nil, false
	}
	return func() {
		if lifted {
			_ = p.node.Unblock(o.id) // it may have stopped, and others may have banned it too
		}
	}, true
}

// restart puts another process in the place of p, which is stopped in order or killed.
func (w *world) restart(p *process, clean bool, again time.Duration) {
	w.edge("restart.same address")
	if !clean {
		w.kill(p)
		w.bootLater(p.m, time.Millisecond+p.phase(time.Millisecond)) // others see that nobody listens, or not
		return
	}
	w.tasks.Go(func() {
		w.leave(p, "")
		w.bootLater(p.m, again/10)
	})
}

// pause holds a process for a while; pauses nest.
func (w *world) pause(p *process) (end func(), happened bool) {
	w.cluster.Pause(p.number)
	w.mu.Lock()
	p.paused++
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		p.paused--
		over := p.paused == 0
		w.mu.Unlock()
		if over {
			w.cluster.Resume(p.number)
		}
	}, true
}

// provide lets something be wrong with the provider, for those who come while it lasts too.
func (w *world) provide(count *int, fault func(i int)) {
	w.mu.Lock()
	*count++
	w.mu.Unlock()
	for i := range w.cluster.Len() {
		fault(i)
	}
}

func (w *world) unprovide(count *int, heal func(i int)) {
	w.mu.Lock()
	*count--
	w.mu.Unlock()
	for i := range w.cluster.Len() {
		heal(i)
	}
}

// join the network and the provider as they are.
func (w *world) connect(p *process) {
	w.mu.Lock()
	outages, stales := w.outages, w.stales
	w.mu.Unlock()
	for range outages {
		w.cluster.CutProvider(p.number)
	}
	for range stales {
		w.cluster.StaleProvider(p.number)
	}
	for _, m := range w.machines {
		w.apply(p.m.index, m.index)
		w.apply(m.index, p.m.index)
	}
	if w.providerCut(p.m.index) {
		w.cluster.CutProvider(p.number)
	}
}
