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
	ch.next, ch.head, ch.tail = nil, 0, 0
	if len(ch.items) == smallChunk {
		p.small.Put(ch)
		return
	}
	p.large.Put(ch)
}
