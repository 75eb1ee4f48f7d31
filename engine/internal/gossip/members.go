package gossip

import (
	"slices"
	"strings"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// install makes the members of in those that count: others are forgotten, new ones begin empty.
func (m *Machine) install(in Installed) {
	m.view = slices.Compact(slices.Sorted(slices.Values(in.IDs)))
	var gone []*entry
	for _, e := range m.order {
		if !m.counts(e.id) && !simbug.On("gossip-keeps-departed") {
			gone = append(gone, e)
		}
	}
	m.remove(gone)
	joined := m.join()
	if m.viewed {
		m.tell(joined)
	}
	m.viewed = true
	m.digest = digestOf(m.view)
	m.deal()
	if !simbug.On("consensus-over-old-members") {
		m.suspectChecks()
	}
	if in.Topology.Type != "" && m.own != nil {
		m.set(KeyTopology, in.Topology, false)
	}
}

// counts reports whether a member may have an entry here.
func (m *Machine) counts(id core.MemberID) bool {
	return id == m.cfg.Self && m.own != nil || m.inView(id) && !m.isBlocked(id)
}

func (m *Machine) inView(id core.MemberID) bool {
	_, found := slices.BinarySearch(m.view, id)
	return found
}

func (m *Machine) isBlocked(id core.MemberID) bool {
	_, found := m.blocked[id]
	return found
}

// join makes entries and peers for the members of the view that have none, and lists the entries.
func (m *Machine) join() (joined []*entry) {
	for _, id := range m.view {
		if id == m.cfg.Self || m.isBlocked(id) || m.entries[id] != nil {
			continue
		}
		joined = append(joined, m.admit(id))
		m.peers[id] = newPeer(id)
	}
	if len(joined) > 0 {
		slices.SortFunc(m.order, func(a, b *entry) int { return strings.Compare(string(a.id), string(b.id)) })
	}
	return joined
}

// admit makes an empty entry; who calls it puts the order in order.
func (m *Machine) admit(id core.MemberID) *entry {
	e := &entry{id: id, slot: m.slots}
	if n := len(m.free); n > 0 {
		e.slot, m.free = m.free[n-1], m.free[:n-1]
	} else {
		m.slots++
	}
	m.entries[id] = e
	m.order = append(m.order, e)
	return e
}

// tell notes that all peers are to be told how little is held of these owners: what they sent before
// was not taken, or is gone, though they may take it for acknowledged. Peers share the list as long as
// they can: in a large view all of them have to be told of all.
func (m *Machine) tell(joined []*entry) {
	for _, p := range m.peers {
		if len(p.tell) == 0 {
			p.tell = joined[:len(joined):len(joined)]
		} else {
			p.tell = append(p.tell[:len(p.tell):len(p.tell)], joined...)
		}
	}
}

// remove forgets entries and all that is known of them.
func (m *Machine) remove(gone []*entry) {
	if len(gone) == 0 {
		return
	}
	for _, e := range gone {
		e.gone = true
		delete(m.entries, e.id)
		delete(m.peers, e.id)
	}
	m.order = slices.DeleteFunc(m.order, (*entry).isGone)
	m.digest.stale = true
	for _, p := range m.peers {
		p.forget(gone)
	}
	for _, e := range gone {
		for _, c := range m.checks {
			c.forget(e)
		}
		m.free = append(m.free, e.slot)
		if len(e.values) > 0 {
			m.emit(Removed{Member: e.id})
		}
	}
}

func (e *entry) isGone() bool { return e.gone }

func (m *Machine) block(ids []core.MemberID) {
	for _, id := range ids {
		if id == m.cfg.Self {
			continue
		}
		m.blocked[id] = struct{}{}
		if e := m.entries[id]; e != nil {
			m.remove([]*entry{e})
		}
		delete(m.peers, id)
	}
	m.deal()
	m.suspectChecks()
}

func (m *Machine) unblock(ids []core.MemberID) {
	for _, id := range ids {
		delete(m.blocked, id)
	}
	m.tell(m.join())
	m.digest.stale = true
	m.deal()
	m.suspectChecks()
}

func (m *Machine) setClients(ids []core.MemberID) {
	clear(m.clients)
	for _, id := range ids {
		m.clients[id] = struct{}{}
	}
	for id, p := range m.peers {
		if _, stays := m.clients[id]; p.client && !stays {
			delete(m.peers, id)
		}
	}
}

// deal makes a new ring of all members that can be addressed, in a random order.
func (m *Machine) deal() {
	m.ring, m.next = m.ring[:0], 0
	for _, id := range m.view {
		if m.peers[id] != nil {
			m.ring = append(m.ring, id)
		}
	}
	m.cfg.Rand.Shuffle(len(m.ring), func(i, j int) { m.ring[i], m.ring[j] = m.ring[j], m.ring[i] })
}
