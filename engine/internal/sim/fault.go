package main

import (
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/internal/membership"
)

// Begin is what faults do to processes.
func (w *world) Begin(f sim.Fault) (end func(), happened bool) {
	m := w.machines[f.A]
	if f.Kind == sim.Join {
		return nil, w.join(m)
	}
	n := m.cur
	if n == nil {
		return nil, false
	}
	switch f.Kind {
	case sim.Kill:
		n.kill()
		if f.X%3 > 0 {
			w.bootLater(m, time.Duration(f.X)*3*time.Millisecond)
		}
	case sim.Pause:
		w.event(string(n.id), "paused", "")
		n.proc.Pause()
		return n.resume, true
	case sim.ClockFault:
		n.proc.SetRate(0.9 + 0.2*float64(f.X)/1000)
		return func() { n.proc.SetRate(1) }, true
	case sim.Leave:
		n.leave()
	case sim.RestartSameAddress:
		w.restart(m, f.X%5, time.Duration(f.X)*3*time.Millisecond)
	case sim.Flap:
		return w.flap(n, w.machines[f.B].cur)
	case sim.Ban:
		return n.ban(w.machines[f.B].cur, f)
	}
	return nil, true
}

func (w *world) join(m *machine) bool {
	if m.cur != nil || m.due {
		return false
	}
	w.boot(m)
	return true
}

func (n *node) resume() {
	n.event("goes on", "")
	n.lastHalt = n.w.heap.Now()
	n.proc.Resume()
}

// restart puts another process in the place of the present one, which was stopped in order, killed, or
// goes on somewhere without its address for a while.
func (w *world) restart(m *machine, how int, ghost time.Duration) {
	n := m.cur
	switch how {
	case 0:
		n.leave()
	case 1:
		n.kill()
	default:
		w.edge("restart.the old one goes on")
		m.cur = nil
		w.heap.After(ghost, n.kill)
	}
	if m.cur == nil {
		w.boot(m)
	} else {
		w.bootLater(m, 300*time.Millisecond)
	}
}

// flap loses a member from sight for a moment: of one other where members see different things, of the
// provider where they do not.
func (w *world) flap(observer, n *node) (end func(), happened bool) {
	switch {
	case n == nil || n == observer:
		return nil, false
	case w.ordered:
		w.backend.Silence(n.id)
		return func() { w.backend.Hear(n.id) }, true
	}
	w.backend.Hide(observer.id, n.id)
	return func() { w.backend.Show(observer.id, n.id) }, true
}

// lastBan is when the last ban may begin: what one has said who is dead by then ends by itself, wherever it was
// heard, before all is to be well.
const lastBan = 18 * time.Second

// ban has n refuse another member by its ID for the time of the fault, and take it back, or wait until it ends.
func (n *node) ban(o *node, f sim.Fault) (end func(), happened bool) {
	if o == nil || o == n || f.At > lastBan || n.leaving {
		return nil, false
	}
	n.event("bans", string(o.id))
	lifted := f.X%8 > 0
	b := membership.Ban{ID: o.id, For: f.For + time.Millisecond}
	if lifted {
		b.For *= 2
	}
	n.reduce(b)
	return func() {
		if lifted && n.proc.Alive() {
			n.w.edge("ban.lifted")
			n.reduce(membership.Unban{ID: o.id})
		}
	}, true
}

// Limits of the steps of a leave.
const (
	leaveSeen  = 500 * time.Millisecond
	leaveDrain = time.Second
	leaveRow   = time.Second
)

// leave is the ordered end of a process: tell, drain, remove the row, end. No step can keep the
// following ones from being taken.
func (n *node) leave() {
	if n.leaving {
		return
	}
	n.event("leaves", "")
	n.leaving = true
	n.row.Status = core.Leaving
	n.session.Update(n.row)
	n.talk.leaving()
	n.proc.After(leaveSeen, n.drain)
}

func (n *node) drain() {
	n.drained = true
	gone, taken := 0, false
	next := func() {
		if !taken {
			taken = true
			n.removeRow()
		}
	}
	var running []*activation
	for _, id := range n.w.ids {
		if a := n.acts[id]; a != nil {
			running = append(running, a)
		}
	}
	for _, a := range running {
		a.stop(func() {
			n.settle()
			if gone++; gone == len(running) {
				n.w.edge("leave.drained")
				next()
			}
		})
	}
	if len(running) == 0 {
		n.w.edge("leave.drained")
		next()
	}
	n.proc.After(leaveDrain, next)
}

func (n *node) removeRow() {
	taken := false
	end := func() {
		if !taken {
			taken = true
			n.proc.After(n.phase(100*time.Millisecond), n.kill)
		}
	}
	n.session.Leave(func() {
		n.w.edge("leave.row removed")
		end()
	})
	n.proc.After(leaveRow, func() {
		if !taken {
			n.w.edge("leave.without the provider")
		}
		end()
	})
}
