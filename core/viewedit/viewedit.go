// Package viewedit holds the arithmetic that every core.ViewStore owes its records: what the next
// record is when a member joins, changes, leaves or is evicted. All of it is pure; providers keep
// the record and swap it.
package viewedit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// Bounds of a record.
const (
	KeptEpochs    = 64    // epochs whose Changes are kept
	MaxDepartures = 1_024 // beyond it the oldest departure whose guard is zero goes
	MaxSuspicions = 1_024 // beyond it the oldest vote goes
)

// Stamp is what the writer of a record knows besides its content.
type Stamp struct {
	WriteID string    // fresh
	Lineage string    // of the first record
	Now     time.Time // makes the epoch of the first record

	// Guard is that of a member that next removes without saying how long it may still act.
	Guard time.Duration
}

// Next completes next, an edited copy of old's record, to what is stored in place of old: lineage,
// revision, write ID and, where ownership changed, epoch, Joined, Changes and Departed. Old is nil
// for the first record. Errors: core.ErrInvalid, also for a member whose address or Joined changed;
// core.ErrConflict for a new row with a departed ID.
func Next(old *core.View, next core.ViewRecord, s Stamp) (*core.View, error) {
	var was core.ViewRecord
	if old != nil {
		was = old.Record()
	} else {
		was = core.ViewRecord{Format: core.RecordFormat, Lineage: s.Lineage, Epoch: uint64(max(s.Now.UnixMilli(), 1)) - 1}
	}
	next.Format, next.Lineage, next.Epoch = was.Format, was.Lineage, was.Epoch
	next.Revision, next.WriteID = was.Revision+1, s.WriteID
	v, err := core.NewView(next)
	if err != nil {
		return nil, err
	}
	t := core.Diff(old, v)
	if err := checkRows(old, was, next, t); err != nil {
		return nil, err
	}
	if old == nil || len(t.Joined)+len(t.Left)+len(t.Changed) > 0 {
		next = own(next, t, s)
	}
	next.Suspicions = slices.DeleteFunc(next.Suspicions, func(v core.Suspicion) bool {
		return !slices.ContainsFunc(next.Members, func(m core.Member) bool { return m.ID == v.Suspect })
	})
	next.Suspicions = next.Suspicions[max(0, len(next.Suspicions)-MaxSuspicions):]
	return core.NewView(next)
}

func checkRows(old *core.View, was, next core.ViewRecord, t core.Topology) error {
	for _, m := range t.Joined {
		if Departed(was, m.ID) {
			return fmt.Errorf("view: member %q has departed, and its ID never returns: %w", m.ID, core.ErrConflict)
		}
	}
	if old == nil {
		return nil
	}
	for _, m := range next.Members {
		before, known := old.Member(m.ID)
		if known && (before.Address != m.Address || before.Joined != m.Joined) {
			return fmt.Errorf("view: member %q has address %q, joined %d, and cannot change to %q, %d: %w",
				m.ID, before.Address, before.Joined, m.Address, m.Joined, core.ErrInvalid)
		}
	}
	return nil
}

// own makes next the first record of a new epoch.
func own(next core.ViewRecord, t core.Topology, s Stamp) core.ViewRecord {
	if !simbug.On("epoch-stands-still") {
		next.Epoch++
	}
	next.Members = slices.Clone(next.Members)
	for i, m := range next.Members {
		if core.Members(t.Joined).Has(m.ID) {
			next.Members[i].Joined = next.Epoch
		}
	}
	var steps []core.Change
	for _, m := range slices.Concat(t.Joined, t.Changed) {
		steps = append(steps, core.Change{Epoch: next.Epoch, ID: m.ID, Status: m.Status, Weight: m.Weight})
	}
	next.Departed = slices.Clone(next.Departed)
	for _, m := range t.Left {
		steps = append(steps, core.Change{Epoch: next.Epoch, ID: m.ID})
		next.Departed = depart(next.Departed, core.Departure{ID: m.ID, Epoch: next.Epoch, Guard: s.Guard})
	}
	next.Departed = trim(next.Departed, next.Epoch)
	slices.SortFunc(steps, func(a, b core.Change) int { return cmp.Compare(a.ID, b.ID) })
	next.Changes = slices.Concat(next.Changes, steps)
	next.Changes = slices.DeleteFunc(next.Changes, func(c core.Change) bool { return c.Epoch+KeptEpochs <= next.Epoch })
	return next
}

// depart adds d, unless the editor has entered this departure already: then it gets its epoch.
func depart(list []core.Departure, d core.Departure) []core.Departure {
	if i := slices.IndexFunc(list, func(old core.Departure) bool { return old.ID == d.ID }); i >= 0 {
		list[i].Epoch = d.Epoch
		return list
	}
	return append(list, d)
}

// trim drops the oldest departures without a guard beyond the bound, and none of this epoch.
func trim(list []core.Departure, epoch uint64) []core.Departure {
	excess := len(list) - MaxDepartures
	return slices.DeleteFunc(list, func(d core.Departure) bool {
		if excess <= 0 || d.Guard > 0 || d.Epoch == epoch {
			return false
		}
		excess--
		return true
	})
}

// Departed reports whether r remembers that id has departed.
func Departed(r core.ViewRecord, id core.MemberID) bool {
	return slices.ContainsFunc(r.Departed, func(d core.Departure) bool { return d.ID == id })
}

// Full reports that nobody may join: one more departure would have to push out one whose guard runs.
func Full(r core.ViewRecord) bool {
	guarded := 0
	for _, d := range r.Departed {
		if d.Guard > 0 {
			guarded++
		}
	}
	return guarded >= MaxDepartures
}

// Admit adds self, and retires whoever had its address before. It returns core.ErrConflict if the ID
// is another's or has departed; a row that equals self but for Joined may have been stored by an
// earlier try of the same Join, which the caller knows.
func Admit(r core.ViewRecord, self core.Member) (core.ViewRecord, error) {
	members := core.NewMembers(r.Members...)
	if members.Has(self.ID) {
		return r, fmt.Errorf("view: the ID %q is another member's: %w", self.ID, core.ErrConflict)
	}
	if Departed(r, self.ID) {
		return r, fmt.Errorf("view: member %q has departed, and its ID never returns: %w", self.ID, core.ErrConflict)
	}
	self.Joined = 0 // Next knows it
	rest := slices.DeleteFunc(slices.Clone(members), func(m core.Member) bool { return m.Address == self.Address })
	r.Members = core.NewMembers(append(rest, self)...)
	return r, nil
}

// Replace sets status, kinds, weight and protocol of self's row; false if it is not listed.
func Replace(r core.ViewRecord, self core.Member) (core.ViewRecord, bool) {
	members := slices.Clone(r.Members)
	for i, m := range members {
		if m.ID == self.ID {
			self.Joined = m.Joined
			members[i] = self
			r.Members = members
			return r, true
		}
	}
	return r, false
}

// Remove takes id out, with the guard that its departure has; false if it is not listed.
func Remove(r core.ViewRecord, id core.MemberID, guard time.Duration) (core.ViewRecord, bool) {
	rest := slices.DeleteFunc(slices.Clone(r.Members), func(m core.Member) bool { return m.ID == id })
	if len(rest) == len(r.Members) {
		return r, false
	}
	r.Members, r.Departed = rest, append(slices.Clone(r.Departed), core.Departure{ID: id, Guard: guard})
	return r, true
}
