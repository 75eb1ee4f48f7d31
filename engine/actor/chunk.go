package actor

import "sync"

// itemKind tells what an item in a mailbox is.
type itemKind uint8

const (
	itemUser    itemKind = iota // sent by somebody
	itemPoison                  // stop when you come to this
	itemNudge                   // a user-defined message past the bound
	itemCall                    // Message is a *turnCall: a timer or a continuation
	itemTimeout                 // the receive timeout may have run out
	itemEnded                   // Message is a *Terminated
	itemAgain                   // a message that a continuation stashed: it was handled in part
)

// item is an envelope in a mailbox: 64 bytes, one cache line.
type item struct {
	env  Envelope
	size uint32 // bytes that the message says it holds
	kind itemKind
}

const (
	smallChunk = 16  // the first chunk of a mailbox that is not empty
	largeChunk = 128 // all that follow
)

// chunk is a piece of a mailbox. Producers fill it under the lock of the mailbox; the consumer takes
// it whole and empties it without a lock.
type chunk struct {
	next       *chunk
	last       *chunk // of the mailbox, in its first one
	items      []item
	head, tail int
}

// chunkPool recycles the chunks of a system. What is in it is empty and unreachable for everybody else:
// producers touch chunks under a mailbox's lock only, so nobody can hold a stale one.
type chunkPool struct {
	small, large sync.Pool
}

func (p *chunkPool) get(large bool) *chunk {
	pool, n := &p.small, smallChunk
	if large {
		pool, n = &p.large, largeChunk
	}
	if ch, ok := pool.Get().(*chunk); ok {
		return ch
	}
	return &chunk{items: make([]item, n)}
}

// put takes back an emptied chunk; nil is allowed.
func (p *chunkPool) put(ch *chunk) {
	if ch == nil {
		return
	}
	ch.next, ch.last, ch.head, ch.tail = nil, nil, 0, 0
	if len(ch.items) == smallChunk {
		p.small.Put(ch)
		return
	}
	p.large.Put(ch)
}

// lastRank is behind every priority that a user gives.
const lastRank = int(^uint(0) >> 1)

// ordered is a queue in order of rank and then of arrival: a binary heap. With all ranks equal it is a
// plain queue. The zero value is empty; a nil one may be asked for its length.
type ordered struct {
	items []orderedItem
	seq   uint64
}

type orderedItem struct {
	item
	rank int
	seq  uint64
}

func (a *orderedItem) before(b *orderedItem) bool {
	if a.rank != b.rank {
		return a.rank < b.rank
	}
	return a.seq < b.seq
}

func (q *ordered) len() int {
	if q == nil {
		return 0
	}
	return len(q.items)
}

func (q *ordered) push(it item, rank int) {
	q.seq++
	q.items = append(q.items, orderedItem{it, rank, q.seq})
	for i := len(q.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.items[i].before(&q.items[up]) {
			return
		}
		q.items[i], q.items[up] = q.items[up], q.items[i]
		i = up
	}
}

// pop takes the first item; there must be one. Memory of a burst is given back when it is over.
func (q *ordered) pop() item {
	first := q.items[0].item
	n := len(q.items) - 1
	q.items[0] = q.items[n]
	q.items[n] = orderedItem{}
	q.items = q.items[:n]
	if n == 0 && cap(q.items) > largeChunk {
		q.items = nil
	}
	for i := 0; ; {
		down := 2*i + 1
		if down >= n {
			return first
		}
		if down+1 < n && q.items[down+1].before(&q.items[down]) {
			down++
		}
		if !q.items[down].before(&q.items[i]) {
			return first
		}
		q.items[i], q.items[down] = q.items[down], q.items[i]
		i = down
	}
}

// popUser is pop that leaves a poison pill where it is.
func (q *ordered) popUser() (item, bool) {
	if q.items[0].kind != itemUser {
		return item{}, false
	}
	return q.pop(), true
}
