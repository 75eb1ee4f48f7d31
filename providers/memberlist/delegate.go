package memberlist

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	lib "github.com/hashicorp/memberlist"

	"github.com/granary-go/granary/core"
)

// delegate is what the library calls, from goroutines of its own and partly under its lock: it notes
// what happened, wakes the owner, and calls nothing of the library.
type delegate struct{ s *session }

// NodeMeta is called by the library, which panics above limit.
func (d delegate) NodeMeta(limit int) []byte {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if b := d.s.table.meta().encode(); len(b) <= limit {
		return b
	}
	return nil // cannot happen: maxID is far below
}

// NotifyMsg takes a message of another member in. It is called on the one goroutine that reads
// packets.
func (d delegate) NotifyMsg(b []byte) {
	if len(b) == 0 {
		d.s.refused.add(malformed("message", errShort))
		return
	}
	kind, body := b[0], b[1:]
	var err error
	switch kind {
	case msgRow:
		var w row
		if w, err = decodeRow(body); err == nil {
			d.s.merge(w, slices.Clone(b))
		}
	case msgWant:
		id := core.MemberID(body)
		if err = checkID(id); err == nil {
			d.s.wanted(id)
		}
	case msgLeft:
		var who departure
		var address string
		if who, address, err = decodeLeft(body); err == nil {
			d.s.left(who, address, slices.Clone(b))
		}
	default:
		err = malformed("message", fmt.Errorf("unknown kind %q", kind))
	}
	if err != nil {
		d.s.refused.add(err)
	}
}

// GetBroadcasts gives rows and farewells that are to go on to others.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	select {
	case d.s.gossiped <- struct{}{}: // farewell counts them
	default:
	}
	return d.s.queue.GetBroadcasts(overhead, limit)
}

// LocalState is what this process tells at a join or a push/pull.
func (d delegate) LocalState(bool) []byte {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.s.table.state()
}

// MergeRemoteState takes the rows of a join or a push/pull in.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	departed, err := decodeState(b, func(encoded []byte) {
		w, err := decodeRow(encoded)
		if err != nil {
			d.s.refused.add(err)
			return
		}
		d.s.merge(w, nil)
	})
	if err != nil {
		d.s.refused.add(err)
		return
	}
	for _, who := range departed {
		d.s.left(who, "", nil)
	}
}

// NotifyAlive lets a node into the pool, or keeps it out by an error, which the library logs.
func (d delegate) NotifyAlive(n *lib.Node) error {
	m, err := decodeMeta(n.Meta)
	if err == nil {
		d.s.mu.Lock()
		err = d.s.table.admit(n.Name, m)
		d.s.mu.Unlock()
	}
	if err != nil {
		d.s.refused.add(err)
	}
	return err
}

// NotifyJoin notes a node that is alive.
func (d delegate) NotifyJoin(n *lib.Node) { d.NotifyUpdate(n) }

// NotifyUpdate notes new meta data of a node.
func (d delegate) NotifyUpdate(n *lib.Node) {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return // NotifyAlive has refused it
	}
	d.s.alive(m, net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port))))
}

// NotifyLeave notes a node that is dead or left.
func (d delegate) NotifyLeave(n *lib.Node) { d.s.gone(core.MemberID(n.Name)) }

// NotifyConflict is called when another process uses an ID that is in the pool.
func (d delegate) NotifyConflict(existing, other *lib.Node) {
	d.s.conflict(core.MemberID(existing.Name), other.Address())
}

// broadcast is a message that each member passes on a few times.
type broadcast struct {
	about core.MemberID
	data  []byte
}

// Name makes a newer message about a member replace an older one in the queue.
func (b broadcast) Name() string { return string(b.about) }

// Invalidates is not asked, since there is a Name.
func (b broadcast) Invalidates(o lib.Broadcast) bool {
	other, ok := o.(broadcast)
	return ok && other.about == b.about
}

// Message is what is sent.
func (b broadcast) Message() []byte { return b.data }

// Finished has nothing to do.
func (broadcast) Finished() {}

var (
	_ lib.Delegate         = delegate{}
	_ lib.AliveDelegate    = delegate{}
	_ lib.EventDelegate    = delegate{}
	_ lib.ConflictDelegate = delegate{}
	_ lib.NamedBroadcast   = broadcast{}
)
