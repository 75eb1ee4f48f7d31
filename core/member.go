package core

import (
	"slices"
	"strings"
)

// Status is the stage of life of a member.
type Status uint8

// The stages, in the order in which a member passes them.
const (
	Joining Status = iota + 1 // visible, not yet given work
	Up                        // owns identities and hosts activations
	Leaving                   // owns nothing new; its activations still answer
)

// String is "joining", "up", "leaving" or "removed" for the zero value.
func (s Status) String() string {
	switch s {
	case Joining:
		return "joining"
	case Up:
		return "up"
	case Leaving:
		return "leaving"
	case 0:
		return "removed"
	}
	return "invalid"
}

// Member is one process in the cluster, as its provider describes it. Treat as read-only.
type Member struct {
	ID       MemberID `json:"id"`
	Address  string   `json:"address"`         // host:port; may be reused by a later ID, so it is never a key
	Kinds    []string `json:"kinds,omitempty"` // sorted; none: it owns and hosts nothing
	Status   Status   `json:"status"`
	Joined   uint64   `json:"joined,omitempty"` // epoch that admitted it (start time where epochs are local)
	Weight   uint16   `json:"weight,omitempty"` // share of ownership; 0 means 100
	Protocol Protocol `json:"protocol,omitzero"`
}

// Protocol is the range of wire versions a member speaks; the zero value means plain Proto.Actor.
type Protocol struct {
	Min uint16 `json:"min,omitempty"`
	Max uint16 `json:"max,omitempty"`
}

// Hosts reports whether m may be given activations of kind: it is Up and lists the kind.
func (m Member) Hosts(kind string) bool {
	if m.Status != Up {
		return false
	}
	_, found := slices.BinarySearch(m.Kinds, kind)
	return found
}

// share is the weight that ownership counts with.
func (m Member) share() uint16 {
	if m.Weight == 0 {
		return 100
	}
	return m.Weight
}

// sameRow reports whether ownership rests on the same facts in m and o.
func (m Member) sameRow(o Member) bool {
	return m.Status == o.Status && m.share() == o.share() && slices.Equal(m.Kinds, o.Kinds)
}

// Members is a set of members by ID: ascending, without duplicates. Its methods return new sets and
// never modify their operands. The zero value is the empty set.
type Members []Member

// NewMembers sorts a copy of ms by ID. Of several members with one ID the last stays.
func NewMembers(ms ...Member) Members {
	set := slices.Clone(ms)
	slices.SortStableFunc(set, byID)
	out := set[:0]
	for i, m := range set {
		if i+1 < len(set) && set[i+1].ID == m.ID {
			continue
		}
		out = append(out, m)
	}
	return out
}

// Get finds the member with this ID.
func (s Members) Get(id MemberID) (Member, bool) {
	i, found := slices.BinarySearchFunc(s, id, func(m Member, id MemberID) int { return compareIDs(m.ID, id) })
	if !found {
		return Member{}, false
	}
	return s[i], true
}

// Has reports whether a member with this ID is in s.
func (s Members) Has(id MemberID) bool {
	_, found := s.Get(id)
	return found
}

// Union holds every member of s and of o; where both have an ID, the row of o.
func (s Members) Union(o Members) Members { return NewMembers(slices.Concat(s, o)...) }

// Difference holds the members of s whose ID is not in o.
func (s Members) Difference(o Members) Members {
	return s.filter(func(m Member) bool { return !o.Has(m.ID) })
}

// Intersection holds the members of s whose ID is in o too, with the rows of s.
func (s Members) Intersection(o Members) Members {
	return s.filter(func(m Member) bool { return o.Has(m.ID) })
}

func (s Members) filter(keep func(Member) bool) (kept Members) {
	for _, m := range s {
		if keep(m) {
			kept = append(kept, m)
		}
	}
	return kept
}

func byID(a, b Member) int { return compareIDs(a.ID, b.ID) }

func compareIDs(a, b MemberID) int { return strings.Compare(string(a), string(b)) }
