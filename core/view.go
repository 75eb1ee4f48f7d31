package core

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/granary-go/granary/core/rendezvous"
	"github.com/granary-go/granary/core/simbug"
)

// Departure is a member lately removed from the view.
type Departure struct {
	ID    MemberID `json:"id"`
	Epoch uint64   `json:"epoch"` // epoch of the removal
	// Guard is how long the member may still act, counted by each reader on its own clock from the
	// moment it first saw this departure. Zero for a clean leave; whoever has counted a guard to
	// its end swaps it to zero, so that no joiner counts it again.
	Guard time.Duration `json:"guard_ns,omitempty"`
}

// Change is one step of ownership: from Epoch on, the member had this status and weight.
type Change struct {
	Epoch  uint64   `json:"epoch"`
	ID     MemberID `json:"id"`
	Status Status   `json:"status"` // 0: removed
	Weight uint16   `json:"weight,omitempty"`
}

// Suspicion is one member's vote that another is dead. Each reader counts it for 60 s on its own
// clock, from the moment it first saw it.
type Suspicion struct {
	Suspect MemberID `json:"suspect"`
	Voter   MemberID `json:"voter"`
	Epoch   uint64   `json:"epoch"` // epoch that the voter saw
}

// ViewRecord is the stored form of a view: what a provider keeps and swaps. Its one encoding is the
// JSON of MarshalJSON, held by golden files.
type ViewRecord struct {
	Format     uint16      `json:"format"`   // of the encoding; a member that does not know it reads, but does not swap
	Lineage    string      `json:"lineage"`  // one life of the provider's data; empty: epochs are local to this member
	Epoch      uint64      `json:"epoch"`    // grows by 1, only when the set of members or a status, weight or kind list changes
	Revision   uint64      `json:"revision"` // grows by 1 with every write. The first epoch of a lineage is Unix milliseconds
	WriteID    string      `json:"write_id"` // random, new with every write: one revision with two write IDs is Foreign
	Members    []Member    `json:"members,omitempty"`
	Departed   []Departure `json:"departed,omitempty"`   // newest 1,024; where a younger one would have to go, Join waits
	Changes    []Change    `json:"changes,omitempty"`    // of the last 64 epochs, ascending
	Suspicions []Suspicion `json:"suspicions,omitempty"` // revision only, like guards
	Extra      []byte      `json:"-"`                    // fields of a newer format, kept by whoever rewrites: a JSON object
}

// View is a ViewRecord checked, sorted and indexed: immutable, shared freely between goroutines.
type View struct {
	rec     ViewRecord
	hash    uint64
	hosting map[string][]Member
}

// NewView copies r; it returns ErrInvalid for a duplicate ID, an empty address or an unknown status.
func NewView(r ViewRecord) (*View, error) {
	v := &View{rec: r.clone(), hosting: map[string][]Member{}}
	if !simbug.On("members-unsorted") {
		slices.SortStableFunc(v.rec.Members, byID)
	}
	var h uint64
	for i, m := range v.rec.Members {
		if err := checkRow(m); err != nil {
			return nil, err
		}
		if i > 0 && v.rec.Members[i-1].ID == m.ID {
			return nil, fmt.Errorf("view: member %q is listed twice: %w", m.ID, ErrInvalid)
		}
		h = rendezvous.Combine(h, hashRow(m))
		if m.Status != Up {
			continue
		}
		for _, kind := range m.Kinds {
			v.hosting[kind] = append(v.hosting[kind], m)
		}
	}
	v.hash = h
	return v, nil
}

func checkRow(m Member) error {
	switch {
	case m.ID == "":
		return fmt.Errorf("view: a member at %q has no ID: %w", m.Address, ErrInvalid)
	case m.Address == "":
		return fmt.Errorf("view: member %q has no address: %w", m.ID, ErrInvalid)
	case m.Status < Joining || m.Status > Leaving:
		return fmt.Errorf("view: member %q has the unknown status %d: %w", m.ID, m.Status, ErrInvalid)
	}
	return nil
}

func hashRow(m Member) uint64 {
	h := rendezvous.String(0, string(m.ID))
	h = rendezvous.Combine(h, uint64(m.Status)<<16|uint64(m.share()))
	for _, kind := range m.Kinds {
		h = rendezvous.Combine(h, rendezvous.String(1, kind))
	}
	return h
}

func (r ViewRecord) clone() ViewRecord {
	r.Members = slices.Clone(r.Members)
	for i, m := range r.Members {
		kinds := slices.Clone(m.Kinds)
		slices.Sort(kinds)
		r.Members[i].Kinds = slices.Compact(kinds)
	}
	r.Departed = slices.Clone(r.Departed)
	r.Changes = slices.Clone(r.Changes)
	r.Suspicions = slices.Clone(r.Suspicions)
	r.Extra = slices.Clone(r.Extra)
	return r
}

// Lineage names one life of the provider's data; empty where epochs are local to this member.
func (v *View) Lineage() string { return v.rec.Lineage }

// Epoch counts the changes of ownership within the lineage.
func (v *View) Epoch() uint64 { return v.rec.Epoch }

// Hash covers what ownership rests on (IDs, statuses, weights, kinds), by the mixed hash of
// core/rendezvous. Equal epochs must have equal hashes; without epochs it is all there is.
func (v *View) Hash() uint64 { return v.hash }

// Record is a deep copy of what the view was made of, with members and kinds sorted.
func (v *View) Record() ViewRecord { return v.rec.clone() }

// Len is the number of members, of any status.
func (v *View) Len() int { return len(v.rec.Members) }

// All walks the members in ascending order of ID.
func (v *View) All() iter.Seq[Member] { return slices.Values(v.rec.Members) }

// Member finds the member with this ID.
func (v *View) Member(id MemberID) (Member, bool) { return Members(v.rec.Members).Get(id) }

// Hosting lists the members that are Up and list the kind, in ascending order of ID. The slice is
// shared: it is not to be modified.
func (v *View) Hosting(kind string) []Member { return slices.Clip(v.hosting[kind]) }

// Departed walks the members lately removed, newest last.
func (v *View) Departed() iter.Seq[Departure] { return slices.Values(v.rec.Departed) }

// Changes walks the steps of ownership of the last 64 epochs, ascending.
func (v *View) Changes() iter.Seq[Change] { return slices.Values(v.rec.Changes) }

// Suspicions walks the votes against members, as the record lists them.
func (v *View) Suspicions() iter.Seq[Suspicion] { return slices.Values(v.rec.Suspicions) }

// Order is the relation of one view to another.
type Order int8

// The relations. Foreign views cannot be ordered: they come of another lineage, or of a write that
// does not follow from the other's.
const (
	Older   Order = -1
	Same    Order = 0
	Newer   Order = 1
	Foreign Order = 2
)

// Compare tells what v is to o. Views without a lineage are ordered by their local epochs, which
// means something only within one member; two of them with equal hashes are the Same.
func (v *View) Compare(o *View) Order {
	a, b := &v.rec, &o.rec
	switch {
	case a.Lineage != b.Lineage:
		return Foreign
	case a.Lineage == "":
		return compareLocal(v, o)
	case a.Revision == b.Revision:
		if a.WriteID != b.WriteID || v.hash != o.hash || a.Epoch != b.Epoch {
			return Foreign
		}
		return Same
	case a.Revision < b.Revision:
		return o.after(v, Older)
	default:
		return v.after(o, Newer)
	}
}

// after is order if v can follow from o, whose revision is smaller, and Foreign if it cannot.
func (v *View) after(o *View, order Order) Order {
	if v.rec.Epoch < o.rec.Epoch || v.rec.Epoch == o.rec.Epoch && v.hash != o.hash {
		return Foreign
	}
	return order
}

func compareLocal(v, o *View) Order {
	switch {
	case v.hash == o.hash:
		return Same
	case v.rec.Epoch < o.rec.Epoch:
		return Older
	case v.rec.Epoch > o.rec.Epoch:
		return Newer
	}
	return Foreign
}
