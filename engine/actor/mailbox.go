package actor

import (
	"sync"
	"sync/atomic"
)

// MailboxKind says what a mailbox does when it is full, or in which order it gives messages out.
type MailboxKind uint8

// The kinds.
const (
	// Bounded refuses the message that does not fit with core.ErrOverloaded. The default.
	Bounded MailboxKind = iota

	// Unbounded takes everything. Memory is the only bound: for senders that are bounded themselves.
	Unbounded

	// Blocking makes the sender wait until there is room or the actor stops. Ref.SendContext and asks
	// wait no longer than their ctx; messages from other members and from an actor to itself never
	// wait, they are refused.
	Blocking

	// DropOldest makes room by dropping the message that waited longest; who asked is answered with
	// core.ErrOverloaded.
	DropOldest

	// Priority gives out the message with the smallest Priority first, and those of one priority in
	// the order in which they came. A full one refuses.
	Priority
)

// The defaults of a mailbox.
const (
	DefaultMailboxSize  = 4096     // messages: a few turns' worth, milliseconds for a fast actor
	DefaultMailboxBytes = 64 << 20 // of messages that know their size: 64 of the largest from the wire
	maxMailbox          = 1 << 30
)

// MailboxConfig says what waits before an actor. The zero value is bounded with the defaults.
//
// The message in hand does not count as waiting, and never more than Size wait. A mailbox of 256 or more
// learns in steps of 16 what its actor has begun, which keeps a send cheap: while the actor is in the middle
// of a burst, up to 15 messages fewer than Size may find room. Smaller ones count exactly.
type MailboxConfig struct {
	Kind     MailboxKind
	Size     int               // messages that may wait, see below; 0: DefaultMailboxSize
	Bytes    int64             // that waiting messages may hold, as told by Sizer; 0: DefaultMailboxBytes; negative: no bound
	Priority func(msg any) int // of a Priority mailbox; called on the sender's goroutine
}

// mailbox is the intake of a cell. All fields are guarded by mu, except those that say otherwise.
type mailbox struct {
	mu        sync.Mutex
	scheduled bool // a worker has the cell, or it is in a ready queue
	suspended bool // failed: only control messages are handled
	closed    bool // takes nothing any more
	hasFirst  bool // first is in use
	stop      bool // a Stop came that the turn has not seen; alert is set with it
	kind      MailboxKind
	special   bool          // closed, refusing, or not simply Bounded or Unbounded: the slow way
	marks     atomic.Uint32 // alert and dead; changed under mu, looked at without

	limit  uint32        // messages
	pushed uint32        // messages ever taken in; wraps
	done   atomic.Uint32 // messages ever given to the actor; written by the turn alone
	bytes  int64         // ever taken in
	doneB  atomic.Int64  // ever given to the actor; written by the turn alone

	first item   // the one waiting message of a mailbox that was empty: no chunk for it
	head  *chunk // knows the last one
	side  *side
}

// The marks of a mailbox.
const (
	alert uint32 = 1 << iota // something is in side, or stop is set
	dead                     // after the Stopped turn; for good
)

func (m *mailbox) marked(mark uint32) bool { return m.marks.Load()&mark != 0 }

// mark is called with mu held.
func (m *mailbox) mark(mark uint32) { m.marks.Store(m.marks.Load() | mark) }

// outcome is what became of a message at a mailbox.
type outcome uint8

const (
	taken     outcome = iota // queued
	takenWake                // queued, and the cell has to be scheduled
	isClosed
	isFull
	isRefused
)

func (m *mailbox) init(cfg *MailboxConfig) {
	m.kind, m.limit = cfg.Kind, uint32(cfg.Size)
	if m.limit == 0 {
		m.limit = DefaultMailboxSize
	}
	switch m.kind {
	case Unbounded:
		m.limit = 1 << 31
	case Blocking, DropOldest, Priority:
		m.special = true
	}
}

// bytes is the bound in bytes.
func (cfg *MailboxConfig) bytes() int64 {
	switch {
	case cfg.Bytes < 0 || cfg.Kind == Unbounded:
		return 1<<63 - 1
	case cfg.Bytes == 0:
		return DefaultMailboxBytes
	}
	return cfg.Bytes
}

// waiting is the number of messages that the actor has not begun, exact to within a step of the turn's
// bookkeeping.
func (m *mailbox) waiting() uint32 { return m.pushed - m.done.Load() }

// held is the number of bytes of those, as far as they know their size.
func (m *mailbox) held() int64 { return m.bytes - m.doneB.Load() }

// full reports whether a message of size more does not fit. One that alone is larger than the bound
// fits an empty mailbox: whoever made it has bounded it.
func (m *mailbox) full(size uint32, cfg *MailboxConfig) bool {
	if m.waiting() >= m.limit {
		return true
	}
	if size == 0 {
		return false
	}
	held := m.held()
	return held > 0 && held+int64(size) > cfg.bytes()
}

// wake reports whether the caller has to schedule the cell, and marks it scheduled.
func (m *mailbox) wake() outcome {
	if m.scheduled || m.suspended {
		return taken
	}
	m.scheduled = true
	return takenWake
}

// push queues a user message of this priority. pool lends chunks.
func (m *mailbox) push(e *Envelope, size uint32, rank int, cfg *MailboxConfig, pool *chunkPool) outcome {
	m.mu.Lock()
	if m.special {
		o := m.pushSpecial(e, size, rank, cfg, pool)
		m.mu.Unlock()
		return o
	}
	if m.full(size, cfg) {
		m.mu.Unlock()
		return isFull
	}
	m.append(e, size, itemUser, pool)
	o := m.wake()
	m.mu.Unlock()
	return o
}

func (m *mailbox) append(e *Envelope, size uint32, kind itemKind, pool *chunkPool) {
	m.pushed++
	m.bytes += int64(size)
	if m.head == nil && !m.hasFirst {
		m.first = item{*e, size, kind}
		m.hasFirst = true
		return
	}
	var t *chunk
	if m.head != nil {
		t = m.head.last
	}
	if t == nil || t.tail == len(t.items) {
		t = m.grow(pool)
	}
	t.items[t.tail] = item{*e, size, kind}
	t.tail++
}

func (m *mailbox) grow(pool *chunkPool) *chunk {
	ch := pool.get(m.head != nil)
	if m.head == nil {
		m.head = ch
	} else {
		m.head.last.next = ch
	}
	m.head.last = ch
	return ch
}

// pushSpecial is push for mailboxes that are closed, refuse, or are of a kind with rules of its own.
func (m *mailbox) pushSpecial(e *Envelope, size uint32, rank int, cfg *MailboxConfig, pool *chunkPool) outcome {
	if m.closed {
		return isClosed
	}
	if s := m.side; s != nil && s.sealed {
		return isClosed
	} else if s != nil && s.refuse != nil {
		return isRefused
	}
	if m.kind != DropOldest && m.full(size, cfg) {
		return isFull
	}
	if m.kind == DropOldest || m.kind == Priority {
		m.pushed++
		m.bytes += int64(size)
		m.order().push(item{*e, size, itemUser}, rank)
		return m.wake()
	}
	m.append(e, size, itemUser, pool)
	return m.wake()
}

func (m *mailbox) order() *ordered {
	s := m.sides()
	if s.queue == nil {
		s.queue = new(ordered)
	}
	return s.queue
}

// dropped takes the oldest message out of a DropOldest mailbox that holds more than it may.
func (m *mailbox) dropped(cfg *MailboxConfig) (it item, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kind != DropOldest || m.side == nil || m.side.queue.len() == 0 {
		return item{}, false
	}
	if m.waiting() <= m.limit && (m.held() <= cfg.bytes() || m.side.queue.len() == 1) {
		return item{}, false
	}
	if it, ok = m.side.queue.popUser(); !ok {
		return item{}, false
	}
	m.pushed-- // as if it had never come
	m.bytes -= int64(it.size)
	return it, true
}

// seal queues a poison pill behind all messages and past the bound, and takes none after it.
func (m *mailbox) seal(pool *chunkPool) outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.sides().sealed {
		return isClosed
	}
	m.side.sealed, m.special = true, true
	if m.kind == DropOldest || m.kind == Priority {
		m.pushed++
		m.order().push(item{kind: itemPoison}, lastRank)
		return m.wake()
	}
	m.append(&Envelope{}, 0, itemPoison, pool)
	return m.wake()
}

// refill gives the consumer the next messages: one in w, or a chunk. used is the chunk that it has
// emptied. When there is nothing at all the mailbox goes to sleep: parked.
func (m *mailbox) refill(into *item, used *chunk, pool *chunkPool) (one *item, many *chunk, parked bool) {
	m.mu.Lock()
	switch {
	case m.marked(alert):
		// Control and urgent messages come first.
	case m.special && m.side != nil && m.side.queue.len() > 0:
		*into = m.side.queue.pop()
		one = into
	case m.hasFirst:
		*into = m.first
		m.first = item{}
		m.hasFirst = false
		one = into
	case m.head != nil:
		many = m.head
		if m.head = many.next; m.head != nil {
			m.head.last = many.last
		}
		many.next, many.last = nil, nil
	default:
		m.scheduled = false
		parked = true
	}
	m.mu.Unlock()
	pool.put(used)
	return one, many, parked
}

// close ends the intake and gives all that is queued, urgent items first.
func (m *mailbox) close() []item {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.special = true, true
	var out []item
	if m.side != nil {
		out = m.side.urgent
		m.side.urgent = nil
		m.calm()
		for m.side.queue.len() > 0 {
			out = append(out, m.side.queue.pop())
		}
		if m.side.room != nil {
			close(m.side.room)
			m.side.room = nil
		}
	}
	if m.hasFirst {
		out = append(out, m.first)
		m.first, m.hasFirst = item{}, false
	}
	for ch := m.head; ch != nil; ch = ch.next {
		out = append(out, ch.items[ch.head:ch.tail]...)
	}
	m.head = nil
	return out
}

// closeIfIdle closes the mailbox if nothing waits in it; more is what the consumer still holds.
func (m *mailbox) closeIfIdle(more bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if more || !m.empty() {
		return false
	}
	m.closed, m.special = true, true
	return true
}

// empty is about user and urgent messages; mu is held.
func (m *mailbox) empty() bool {
	return !m.hasFirst && m.head == nil && (m.side == nil || len(m.side.urgent) == 0 && m.side.queue.len() == 0)
}
