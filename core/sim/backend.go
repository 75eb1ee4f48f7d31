package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewedit"
)

// BackendName is the machine of the Backend: cuts between it and a member's machine part the two.
const BackendName = "provider"

// BackendConfig is what a Backend promises and how fast it is.
type BackendConfig struct {
	Ordered bool          // views carry lineage and epoch; else each member sees a list of its own
	TTL     time.Duration // after which a row that is not renewed is expired
	Grace   time.Duration // after which an expired row goes
	Poll    time.Duration // between two renewals of a Session, each of which reads as well
}

// Backend keeps the rows of a cluster, as the server of a provider does. With an order, what is stored is
// made by core/viewedit. Rows go when they expire by the Backend's own time.
type Backend struct {
	cfg  BackendConfig
	heap *Heap
	net  *Net
	rng  *rand.Rand
	proc *Process

	view     *core.View // nil: nothing is stored
	past     []*core.View
	renewed  map[core.MemberID]time.Duration
	left     map[core.MemberID]bool // in order; such an ID is not stored again
	hidden   map[[2]core.MemberID]int
	silenced map[core.MemberID]int
	down     int
	stale    int
	writes   int
	lineages int
	sessions []*Session
}

// kept is how many views back a stale read may be.
const kept = 4

// NewBackend makes an empty one that is up.
func NewBackend(h *Heap, n *Net, rng *rand.Rand, cfg BackendConfig) *Backend {
	b := &Backend{
		cfg: cfg, heap: h, net: n, rng: rng, proc: h.Start(BackendName, 0, 1),
		renewed: map[core.MemberID]time.Duration{}, left: map[core.MemberID]bool{},
		hidden: map[[2]core.MemberID]int{}, silenced: map[core.MemberID]int{},
	}
	b.proc.Every(cfg.Poll/3, cfg.Poll/3, b.expire)
	return b
}

// View is what is stored; nil if nothing is.
func (b *Backend) View() *core.View { return b.view }

// Fail takes the backend down until as many Repairs were made.
func (b *Backend) Fail() { b.down++ }

// Repair takes back one Fail. No row expires for the time that the backend was down.
func (b *Backend) Repair() {
	if b.down--; b.down > 0 {
		return
	}
	for id := range b.renewed {
		b.renewed[id] = b.heap.now
	}
}

// Wipe loses all data: what is stored next has another lineage.
func (b *Backend) Wipe() {
	b.view, b.past = nil, nil
	clear(b.renewed)
}

// Stale has reads answered from the past until as many Freshes were made, each session's from a replica
// of its own.
func (b *Backend) Stale() {
	b.stale++
	for _, s := range b.sessions {
		s.lag = b.rng.IntN(kept)
	}
}

// Fresh takes back one Stale.
func (b *Backend) Fresh() { b.stale-- }

// Hide leaves a row out of what one observer is told, until as many Shows were made. It is for backends
// without an order, whose members see different things.
func (b *Backend) Hide(observer, id core.MemberID) {
	b.hidden[[2]core.MemberID{observer, id}]++
	b.tell()
}

// Show takes back one Hide.
func (b *Backend) Show(observer, id core.MemberID) {
	b.hidden[[2]core.MemberID{observer, id}]--
	b.tell()
}

// Silence loses the renewals of one member until as many Hears were made.
func (b *Backend) Silence(id core.MemberID) { b.silenced[id]++ }

// Hear takes back one Silence.
func (b *Backend) Hear(id core.MemberID) { b.silenced[id]-- }

// expire removes what was not renewed for TTL and Grace.
func (b *Backend) expire() {
	if b.down > 0 || b.view == nil {
		return
	}
	for m := range b.view.All() {
		if b.heap.now-b.renewed[m.ID] >= b.cfg.TTL+b.cfg.Grace {
			b.remove(m.ID)
		}
	}
}

func (b *Backend) remove(id core.MemberID) {
	if b.view == nil {
		return
	}
	if r, listed := viewedit.Remove(b.view.Record(), id, 0); listed {
		b.store(r)
		delete(b.renewed, id)
	}
}

func (b *Backend) store(next core.ViewRecord) {
	b.writes++
	if b.view == nil {
		b.lineages++
	}
	v, err := b.complete(next)
	if err != nil {
		return // the edit was refused, as a real backend refuses it
	}
	if b.view != nil {
		b.past = append(b.past, b.view)[max(0, len(b.past)+1-kept):]
	}
	b.view = v
	b.tell()
}

// complete makes an edited record the next one.
func (b *Backend) complete(next core.ViewRecord) (*core.View, error) {
	if !b.cfg.Ordered { // rows alone: nobody knows their order, and when somebody departed
		next.Epoch++
		next.Departed, next.Changes = nil, nil
		return core.NewView(next)
	}
	return viewedit.Next(b.view, next, viewedit.Stamp{
		WriteID: fmt.Sprint("w", b.writes), Lineage: fmt.Sprint("l", b.lineages), Now: epoch.Add(b.heap.now),
	})
}

// put stores the row of a member and renews it.
func (b *Backend) put(self core.Member, lineage string) {
	if b.left[self.ID] || b.silenced[self.ID] > 0 {
		return
	}
	var rec core.ViewRecord
	if b.view != nil {
		rec = b.view.Record()
	}
	row, listed := core.Member{}, false
	if b.view != nil {
		row, listed = b.view.Member(self.ID)
	}
	switch {
	case listed:
		b.renewed[self.ID] = b.heap.now
		if row.Status == self.Status && row.Weight == self.Weight && slices.Equal(row.Kinds, self.Kinds) {
			return
		}
		rec, _ = viewedit.Replace(rec, self)
	case !b.admits(lineage):
		return
	default:
		var err error
		if rec, err = b.admit(rec, self); err != nil {
			return
		}
		b.renewed[self.ID] = b.heap.now
	}
	b.store(rec)
}

// admit adds a row. Only a backend with an order can know who had its address before.
func (b *Backend) admit(rec core.ViewRecord, self core.Member) (core.ViewRecord, error) {
	if b.cfg.Ordered {
		return viewedit.Admit(rec, self)
	}
	rec.Members = append(rec.Members, self)
	return rec, nil
}

// admits tells whether a row that is not there may be stored: at first, after data were lost and, where
// there is no order, always.
func (b *Backend) admits(lineage string) bool {
	return !b.cfg.Ordered || lineage == "" || b.view == nil || b.view.Lineage() != lineage
}

// tell sends what is stored to everybody.
func (b *Backend) tell() {
	b.sessions = slices.DeleteFunc(b.sessions, func(s *Session) bool { return !s.proc.Alive() || s.ended })
	for _, s := range b.sessions {
		b.answer(s)
	}
}

// answer sends a session what it is to see now, which may be old.
func (b *Backend) answer(s *Session) {
	v := b.view
	if b.stale > 0 && len(b.past) > 0 {
		v = b.past[max(0, len(b.past)-1-s.lag)]
	}
	if v == nil || b.down > 0 {
		return
	}
	if !b.cfg.Ordered {
		v = b.seenBy(s.self.ID, v)
	}
	b.net.Send(BackendName, s.proc, func() { s.receive(v) })
}

// seenBy is v as one member of a backend without an order sees it.
func (b *Backend) seenBy(observer core.MemberID, v *core.View) *core.View {
	rec := core.ViewRecord{Epoch: v.Epoch()}
	for m := range v.All() {
		if b.hidden[[2]core.MemberID{observer, m.ID}] == 0 {
			rec.Members = append(rec.Members, m)
		}
	}
	seen, err := core.NewView(rec)
	if err != nil {
		return v
	}
	return seen
}
