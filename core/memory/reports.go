package memory

import (
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewedit"
)

// run reports each new view, the newest only, and takes out members whose lease has run out. It ends
// with Leave or Crash.
func (p *Provider) run(report func(*core.View)) {
	defer close(p.done)
	watch := leaseWatch{seen: map[core.MemberID]sighting{}}
	var reported *core.View
	stopTimer := p.env.Clock.AfterFunc(p.hub.ttl/4, p.kick)
	defer func() { stopTimer() }()
	for {
		select {
		case <-p.stop:
			p.lieAfterLeave(report, reported)
			return
		case <-p.wake:
		}
		stopTimer()
		if p.isMember() {
			p.hub.expire(&watch, p.env.Clock.Elapsed())
		}
		stopTimer = p.env.Clock.AfterFunc(p.hub.ttl/4, p.kick)
		view, before := p.hub.present()
		if view == nil || view == reported {
			continue
		}
		report(view)
		reported = view
		if p.hub.lie == LieOrder && before != nil {
			report(before)
			report(view)
		}
	}
}

func (p *Provider) isMember() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == member
}

func (p *Provider) lieAfterLeave(report func(*core.View), last *core.View) {
	if p.hub.lie == LieAfterLeave && last != nil {
		p.env.Clock.AfterFunc(time.Millisecond, func() { report(last) })
	}
}

// sighting is when a member saw a renewal of another for the first time, by its own clock.
type sighting struct {
	renewals uint64
	at       time.Duration
}

// leaseWatch is what one member knows of the others' leases. It holds as many as there are members.
type leaseWatch struct{ seen map[core.MemberID]sighting }

// expire takes out every member that has not renewed for a TTL since w saw its last renewal: by the
// clock of the one that judges, so clocks need not agree, and never earlier than a TTL after it.
func (h *Hub) expire(w *leaseWatch, now time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []core.MemberID
	for id, l := range h.leases {
		s, known := w.seen[id]
		if !known || s.renewals != l.renewals || !l.counts {
			w.seen[id] = sighting{l.renewals, now}
			continue
		}
		if now-s.at >= h.ttl && h.lie != LieExpiry {
			out = append(out, id)
		}
	}
	for id := range w.seen {
		if _, listed := h.leases[id]; !listed {
			delete(w.seen, id)
		}
	}
	if len(out) == 0 {
		return
	}
	// The lease has run out, so nothing of the guard is left. What is removed was listed, so the
	// record stays valid.
	_ = h.write(viewedit.Stamp{}, func(r core.ViewRecord) (core.ViewRecord, error) {
		for _, id := range out {
			r, _ = viewedit.Remove(r, id, 0)
		}
		return r, nil
	})
}
