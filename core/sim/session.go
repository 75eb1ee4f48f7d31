package sim

import (
	"github.com/granary-go/granary/core"
)

// Session is one member's end of a Backend: it keeps the member's row stored and reports views, as a
// provider does. All of it happens in the member's process.
type Session struct {
	b       *Backend
	proc    *Process
	self    core.Member
	report  func(*core.View)
	lineage string // in which the row was stored
	lag     int    // of stale reads
	asked   bool   // a refresh is due
	said    int    // numbers what is sent
	heard   int    // the latest of it that has arrived: what was overtaken does not count
	leaving bool
	ended   bool
	gone    func()
}

// Join begins to keep self stored. Reports may repeat and may be old.
func (b *Backend) Join(p *Process, self core.Member, report func(*core.View)) *Session {
	s := &Session{b: b, proc: p, self: self, report: report}
	b.sessions = append(b.sessions, s)
	s.tick()
	p.Every(b.cfg.Poll, b.cfg.Poll, s.tick)
	return s
}

// Update replaces the member's row, now or as soon as the backend can be reached.
func (s *Session) Update(self core.Member) {
	s.self = self
	s.tick()
}

// Refresh asks for the present view, at most once in a twentieth of a poll.
func (s *Session) Refresh() {
	if s.asked {
		return
	}
	s.asked = true
	s.proc.After(s.b.cfg.Poll/20, func() {
		s.asked = false
		s.tick()
	})
}

// Swap stores next in place of old, which fails silently if old is not what is stored any more: the
// present view comes then as it always does.
func (s *Session) Swap(old *core.View, next core.ViewRecord) {
	s.b.net.Send(s.proc.Name, s.b.proc, func() {
		b := s.b
		if b.down > 0 || s.ended {
			return
		}
		if b.view != nil && b.view.Compare(old) == core.Same {
			b.store(next)
		}
		b.answer(s)
	})
}

// Leave removes the row; done is called when the backend has said so. It is tried until then, or until
// End.
func (s *Session) Leave(done func()) {
	s.leaving, s.gone = true, done
	s.tick()
}

// End stops the session at once.
func (s *Session) End() { s.ended = true }

// tick renews, or asks again to be removed.
func (s *Session) tick() {
	if s.ended {
		return
	}
	s.said++
	self, lineage, leaving, number := s.self, s.lineage, s.leaving, s.said
	s.b.net.Send(s.proc.Name, s.b.proc, func() {
		b := s.b
		if b.down > 0 || number < s.heard {
			return
		}
		s.heard = number
		switch {
		case leaving:
			b.left[self.ID] = true
			b.remove(self.ID)
			b.net.Send(BackendName, s.proc, s.removed)
		default:
			b.put(self, lineage)
			b.answer(s)
		}
	})
}

func (s *Session) removed() {
	s.ended = true
	if done := s.gone; done != nil {
		s.gone = nil
		done()
	}
}

func (s *Session) receive(v *core.View) {
	if s.ended {
		return
	}
	if _, listed := v.Member(s.self.ID); listed {
		s.lineage = v.Lineage()
	}
	s.report(v)
}
