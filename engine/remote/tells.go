package remote

import (
	"fmt"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// keepTells is how many messages of a connection without a receipt are remembered by name; of more only
// their number is known when the link ends.
const keepTells = 4_096

// tells counts the messages of one connection that await no answer, from the moment they are queued to
// the peer's receipt, and remembers the last of them. Not safe for concurrent use.
type tells struct {
	queued  uint64 // into frames
	handed  uint64 // to the link
	handled uint64 // by the peer, as it says
	refused uint64 // of those, as it says
	names   []tellName
}

// tellName is what is known of a message that was sent.
type tellName struct{ target, typ string }

// add notes one that was queued. The ring grows up to its bound; then the oldest are forgotten.
func (t *tells) add(target, typ string) {
	if t.queued-t.handled >= uint64(len(t.names)) && len(t.names) < keepTells {
		t.grow()
	}
	t.names[t.queued&uint64(len(t.names)-1)] = tellName{target, typ}
	t.queued++
}

func (t *tells) grow() {
	names := make([]tellName, max(64, 2*len(t.names)))
	for n := t.handled; n < t.queued; n++ {
		names[n&uint64(len(names)-1)] = t.names[n&uint64(len(t.names)-1)]
	}
	t.names = names
}

// open is the number of those that the link took and the peer has not reported.
func (t *tells) open() uint64 { return t.handed - t.handled }

// receipt takes a peer's report; a peer cannot report what it was not sent.
func (t *tells) receipt(r *receipt) error {
	sum := r.more
	for i := range r.refused {
		sum += min(r.refused[i].count, t.handed+1)
	}
	switch {
	case r.handled > t.handed || r.handled < t.handled:
		return errReceipt(fmt.Sprintf("for %d messages after one for %d, %d were sent", r.handled, t.handled, t.handed))
	case r.more > t.handed || sum > t.handed-t.refused:
		return errReceipt(fmt.Sprintf("for more refused messages than the %d that were sent", t.handed))
	}
	t.handled = r.handled
	t.refused += sum
	return nil
}

// unreported gives the messages of whose fate nothing is known at the end of the link, in order, and how
// many more there are whose names were forgotten.
func (t *tells) unreported() (named []tellName, more uint64) {
	first := t.handled
	if kept := uint64(len(t.names)); t.queued > kept {
		first = max(first, min(t.queued-kept, t.handed))
	}
	for n := first; n < t.handed; n++ {
		named = append(named, t.names[n&uint64(len(t.names)-1)])
	}
	return named, first - t.handled
}

// receipt takes a peer's report. An error ends the link.
func (w *writer) receipt(r *receipt) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tells.receipt(r)
}

// unreported reports what of a link that has ended may be lost: messages of users, and stops. The runtime
// repairs what else it sends.
func (c *conn) unreported(left lost, reason error) {
	err := core.WithDelivery(fmt.Errorf("remote: the link to member %s at %s ended before it was known to be handled: %w",
		c.peer.Member.ID, c.peer.Member.Address, unreachable(reason)), core.DeliveryUnknown)
	sums := map[tellName]uint64{}
	var order []tellName
	for _, name := range left.tells {
		switch systemType(name.typ) {
		case systemWatch, systemUnwatch, systemTerminated:
			continue
		}
		if sums[name]++; sums[name] == 1 {
			order = append(order, name)
		}
	}
	for _, name := range order {
		c.lostTells(refusedMessages{target: name.target, typ: name.typ, count: sums[name]}, err)
	}
	if left.moreTells > 0 {
		c.lostTells(refusedMessages{count: left.moreTells}, err)
	}
}

// lostTells makes a dead letter of messages that did not, or may not, have reached the peer's process.
func (c *conn) lostTells(m refusedMessages, err error) {
	c.r.sys.ReportDeadLetter(actor.DeadLetter{
		Target: core.PID{Address: c.peer.Member.Address, ID: m.target, Member: c.peer.Member.ID},
		Type:   m.typ, Count: int(min(m.count, 1<<31-1)), Err: err,
	})
}
