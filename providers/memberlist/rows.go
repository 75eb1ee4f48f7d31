package memberlist

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// table is what this process knows of the pool: which nodes the library holds for alive, and their
// rows. It decides who is reported and who is asked. It is pure: no lock, clock or network.
type table struct {
	id       core.MemberID
	own      row  // of this process; of a client only the ID is set
	client   bool // this process is one
	nodes    map[core.MemberID]*node
	pending  map[core.MemberID]row // of members that are not known to be alive yet
	departed recent                // IDs that left, never to come back
	rivals   map[core.MemberID]bid // who is in the pool and was listed at the own address
}

// bid is how far the contest with a rival has come.
type bid uint8

const (
	bidden bid = iota + 1 // the own claim was made the greater one
	lost                  // the rival bid again: it runs too, and is left the address
)

// node is what the library says of another live node.
type node struct {
	meta
	address string    // ip:port of its gossip
	row     row       // its newest; revision 0: none yet
	asked   int       // how often its row was asked for
	next    time.Time // when to ask (again); zero: nothing is missing
}

func newTable(own row, client bool) *table {
	return &table{
		id: own.ID, own: own, client: client,
		nodes: map[core.MemberID]*node{}, pending: map[core.MemberID]row{}, rivals: map[core.MemberID]bid{},
	}
}

// meta is what the library is to gossip about this process.
func (t *table) meta() meta {
	if t.client {
		return meta{id: t.id, client: true, revision: t.own.revision}
	}
	return meta{id: t.id, status: t.own.Status, protocol: t.own.Protocol, revision: t.own.revision}
}

// admit tells why the node that m describes may not be in the pool; nil if it may.
func (t *table) admit(name string, m meta) error {
	switch {
	case string(m.id) != name:
		return fmt.Errorf("memberlist: node %.80q says that it is %q: %w", name, m.id, core.ErrInvalid)
	case t.departed.has(m.id, m.revision):
		return fmt.Errorf("memberlist: member %q has left, and an ID is not used again: %w", m.id, core.ErrConflict)
	case m.id != t.id && t.nodes[m.id] == nil && len(t.nodes) >= maxMembers:
		return fmt.Errorf("memberlist: member %q: the pool has %d already: %w", m.id, maxMembers, core.ErrOverloaded)
	}
	return nil
}

// alive notes a node that the library holds for alive, or its new meta data. It tells whether a row
// of it that had come before is in use from now on.
func (t *table) alive(m meta, address string) (used bool) {
	if m.id == t.id || t.departed.has(m.id, m.revision) {
		return false
	}
	t.departed.remove(m.id)
	n := t.nodes[m.id]
	if n == nil {
		n = &node{}
		if !m.client {
			n.row, used = t.pending[m.id]
		}
		delete(t.pending, m.id)
		t.nodes[m.id] = n
	}
	n.meta, n.address = m, address
	return used
}

// gone notes that the library holds a node for dead or left, and returns where its gossip was.
func (t *table) gone(id core.MemberID) (address string) {
	if n := t.nodes[id]; n != nil {
		address = n.address
	}
	delete(t.nodes, id)
	delete(t.pending, id)
	delete(t.rivals, id)
	return address
}

// left notes that a member said good-bye; false if that was known, or is refuted by what the member
// said later.
func (t *table) left(d departure) bool {
	if d.id == t.id || t.departed.has(d.id, d.revision) || t.pending[d.id].revision > d.revision {
		return false
	}
	if n := t.nodes[d.id]; n != nil && max(n.revision, n.row.revision) > d.revision {
		return false
	}
	t.departed.add(d)
	t.gone(d.id)
	return true
}

// merge takes the row of another member in; false if it is not news.
func (t *table) merge(w row) bool {
	if w.ID == t.id || t.departed.has(w.ID, w.revision) {
		return false
	}
	t.departed.remove(w.ID)
	n := t.nodes[w.ID]
	if n == nil {
		return t.keep(w)
	}
	if n.client || n.row.revision >= w.revision {
		return false
	}
	n.row = w
	if w.revision >= n.revision {
		n.asked, n.next = 0, time.Time{}
	}
	return true
}

// farewell is the message that this process leaves.
func (t *table) farewell(address string) []byte {
	return encodeLeft(departure{t.id, t.own.revision}, address)
}

// refuteRow answers a row of this process that came from another one; nil error: it is the own row,
// or an earlier one. Else somebody made it up, and the own row goes past it.
func (t *table) refuteRow(w row) error {
	if t.client || w.revision < t.own.revision || bytes.Equal(w.encode(), t.own.encode()) {
		return nil
	}
	return t.exceed(w.revision, "another process spreads a row of this member that is not its own")
}

// refuteLeft answers the news that this process has left.
func (t *table) refuteLeft(d departure) error {
	return t.exceed(d.revision, "another process spreads that this member has left")
}

// refutable is the last revision that is refuted. Beyond it there is room for the own changes that
// are still to come.
const refutable = maxNumber - 1<<32

// exceed makes the own revision greater than one that was made up.
func (t *table) exceed(revision uint64, what string) error {
	if revision > refutable {
		return fmt.Errorf("memberlist: %s, past the last revision that can be refuted: it stands until this process is started again: %w", what, core.ErrConflict)
	}
	t.own.revision = max(t.own.revision, revision+1)
	return fmt.Errorf("memberlist: %s; it was refuted: %w", what, core.ErrConflict)
}

// keep holds a row until its member is known to be alive. When too many wait, all are dropped: who
// turns out to be alive is asked again.
func (t *table) keep(w row) bool {
	old, known := t.pending[w.ID]
	if known && old.revision >= w.revision {
		return false
	}
	if !known && len(t.pending) >= maxPending {
		clear(t.pending)
	}
	t.pending[w.ID] = w
	return true
}

// update replaces the own row; false if that changes nothing.
func (t *table) update(m core.Member) bool {
	if t.own.Status == m.Status && t.own.Weight == m.Weight && slices.Equal(t.own.Kinds, m.Kinds) && t.own.Protocol == m.Protocol {
		return false
	}
	t.own.Status, t.own.Weight, t.own.Kinds, t.own.Protocol = m.Status, m.Weight, m.Kinds, m.Protocol
	t.own.revision++
	return true
}

// contest makes the own claim to the own address the greatest. Only one process can have bound it,
// so whoever else is listed there is of an earlier start, also if that had a later clock. Of two
// processes that advertise one address by mistake, each bids once as long as both are in the pool,
// and the later bid stands: then over names the others, once each. It tells whether the own row
// changed.
func (t *table) contest() (changed bool, over []core.MemberID) {
	if t.client {
		return false, nil
	}
	for id, n := range t.nodes {
		if n.row.Address != t.own.Address || n.row.claim < t.own.claim || t.rivals[id] == lost {
			continue
		}
		if t.rivals[id] == bidden || n.row.claim >= maxNumber {
			t.rivals[id], over = lost, append(over, id)
			continue
		}
		t.rivals[id], t.own.claim, changed = bidden, n.row.claim+1, true
	}
	if changed {
		t.own.revision++
	}
	slices.Sort(over)
	return changed, over
}

// members is who is to be reported: each live member whose row is here, at each address the one
// with the greatest claim. It ascends by ID.
func (t *table) members() []core.Member {
	holders := make(map[string]row, len(t.nodes)+1)
	hold := func(w row) {
		if h, taken := holders[w.Address]; !taken || h.claim < w.claim || h.claim == w.claim && h.ID < w.ID {
			holders[w.Address] = w
		}
	}
	if !t.client {
		hold(t.own)
	}
	for _, n := range t.nodes {
		w := n.row
		if w.revision == 0 || n.client {
			continue
		}
		if n.revision > w.revision { // the newer row is still on its way, the status is here
			w.Status, w.Protocol = n.status, n.protocol
		}
		hold(w)
	}
	out := make([]core.Member, 0, len(holders))
	for _, w := range holders {
		out = append(out, w.Member)
	}
	slices.SortFunc(out, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// ask is a node that is to be asked for its row.
type ask struct {
	id      core.MemberID
	address string
	attempt int // 1 the first time
}

// Waiting for a row that was announced: it is usually in the same packet or the next.
const (
	askGrace = 50 * time.Millisecond
	askFirst = 200 * time.Millisecond
	askMost  = 5 * time.Second
)

// missing lists the nodes whose row is not here in the revision that they announced and is to be
// asked for now, and tells how long from now the next is due (0: none).
func (t *table) missing(now time.Time) (due []ask, next time.Duration) {
	for id, n := range t.nodes {
		if n.client || n.row.revision >= n.revision {
			continue
		}
		switch {
		case n.next.IsZero():
			n.next = now.Add(askGrace)
		case !now.Before(n.next):
			n.asked++
			n.next = now.Add(min(askFirst<<min(n.asked-1, 10), askMost))
			due = append(due, ask{id, n.address, n.asked})
		}
		if wait := n.next.Sub(now); next == 0 || wait < next {
			next = wait
		}
	}
	slices.SortFunc(due, func(a, b ask) int { return cmp.Compare(a.id, b.id) })
	return due, next
}

// state encodes what this process tells at a join or a push/pull: its row, and those of the members
// that are alive.
func (t *table) state() []byte {
	var rows [][]byte
	size := 0
	add := func(w row) {
		b := w.encode()
		if size += len(b) + 8; size < maxState-maxDeparted*(maxID+8) && len(rows) < maxMembers {
			rows = append(rows, b)
		}
	}
	if !t.client {
		add(t.own)
	}
	for _, n := range t.nodes {
		if n.row.revision != 0 {
			add(n.row)
		}
	}
	return encodeState(rows, t.departed.list())
}

// recent is the last maxDeparted members that left, each with its revision at that time.
type recent struct {
	ids []core.MemberID
	set map[core.MemberID]uint64
}

// has tells whether id left, and has said nothing of a later revision.
func (r *recent) has(id core.MemberID, revision uint64) bool {
	last, left := r.set[id]
	return left && revision <= last
}

func (r *recent) add(d departure) {
	if r.set == nil {
		r.set = map[core.MemberID]uint64{}
	}
	if _, known := r.set[d.id]; !known {
		if len(r.ids) == maxDeparted {
			delete(r.set, r.ids[0])
			r.ids = append(r.ids[:0], r.ids[1:]...)
		}
		r.ids = append(r.ids, d.id)
	}
	r.set[d.id] = d.revision
}

// remove takes back that id left.
func (r *recent) remove(id core.MemberID) {
	if _, known := r.set[id]; known {
		delete(r.set, id)
		r.ids = slices.DeleteFunc(r.ids, func(o core.MemberID) bool { return o == id })
	}
}

func (r *recent) list() []departure {
	out := make([]departure, len(r.ids))
	for i, id := range r.ids {
		out[i] = departure{id, r.set[id]}
	}
	return out
}
