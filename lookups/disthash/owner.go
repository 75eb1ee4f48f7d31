package disthash

import (
	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/rendezvous"
)

// table tells owners by one view. It is immutable.
type table struct {
	view  *core.View
	kinds map[string]*hosts
}

// hosts are the members that may host one kind.
type hosts struct {
	members []core.Member    // ascending by ID, as in the ring
	ring    *rendezvous.Ring // nil: Proto.Actor's hash
}

// newTable indexes v. Hashes of members are computed here, not per call.
func newTable(v *core.View, compat bool) *table {
	t := &table{view: v, kinds: map[string]*hosts{}}
	for m := range v.All() {
		if m.Status != core.Up {
			continue
		}
		for _, kind := range m.Kinds {
			if t.kinds[kind] == nil {
				t.kinds[kind] = newHosts(v.Hosting(kind), compat)
			}
		}
	}
	return t
}

func newHosts(members []core.Member, compat bool) *hosts {
	if compat {
		return &hosts{members: members}
	}
	entries := make([]rendezvous.Entry, len(members))
	for i, m := range members {
		entries[i] = rendezvous.Entry{ID: string(m.ID), Weight: m.Weight}
	}
	return &hosts{members, rendezvous.NewRing(entries)}
}

// owner finds the member that owns id. It allocates nothing; the member is shared.
func (t *table) owner(id core.Identity) (*core.Member, bool) {
	h := t.kinds[id.Kind]
	if h == nil {
		return nil, false
	}
	if h.ring == nil {
		i := compatOwner(h.members, id.Key)
		if i < 0 {
			return nil, false
		}
		return &h.members[i], true
	}
	i, ok := h.ring.Owner(rendezvous.Identity(id.Kind, id.Key))
	if !ok {
		return nil, false
	}
	return &h.members[i], true
}

// owns tells whether the member self owns id.
func (t *table) owns(self core.MemberID, id core.Identity) bool {
	m, ok := t.owner(id)
	return ok && m.ID == self
}

// hostsAnything tells whether the view lets m run something.
func hostsAnything(m core.Member) bool { return m.Status == core.Up && len(m.Kinds) > 0 }
