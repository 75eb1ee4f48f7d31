package actor

import (
	"fmt"

	"github.com/granary-go/granary/core"
)

// The bounds of a stash; who fills it has a message that is never unstashed.
const (
	stashLimit = DefaultMailboxSize
	stashBytes = DefaultMailboxBytes // as Sizers tell; one larger message fits an empty stash
)

// stashPresent keeps the message in hand for later, with its sender, header and answer.
func (c *cell) stashPresent() error {
	m := c.extra()
	it := *c.ctx.item
	if it.env.Message == nil && it.kind == itemCall {
		return fmt.Errorf("actor: stash of %s: a timer has no message: %w", &c.ref, core.ErrInvalid)
	}
	if held := m.stashed + int64(it.size); len(m.stash) >= stashLimit || held > stashBytes && held > int64(it.size) {
		return fmt.Errorf("actor: stash of %s: %w: it holds %d messages, %d bytes; unstash them", &c.ref, core.ErrOverloaded, len(m.stash), m.stashed)
	}
	switch it.kind {
	case itemCall:
		it.kind = itemAgain
	case itemEnded, itemTimeout:
		it.kind = itemUser // it was found due: it comes as it is
	}
	m.stash = append(m.stash, it)
	m.stashed += int64(it.size)
	c.ctx.item.env.Reply = nil // the answer is due when the message comes again
	return nil
}

// unstash puts the stash before all queued messages, in the order in which the messages came. What is
// still to be handled of an earlier unstash came later than what was stashed again meanwhile.
func (c *cell) unstash() {
	m := c.more
	if m == nil || len(m.stash) == 0 {
		return
	}
	m.ready = append(m.stash, m.ready...)
	m.stash, m.stashed = nil, 0
}

// holdsMessages reports whether user messages wait for their turn.
func (c *cell) holdsMessages() bool {
	if c.consumerHolds() {
		return true
	}
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	return c.box.hasFirst || c.box.head != nil || c.box.side != nil && c.box.side.queue.len() > 0
}

// consumerHolds is about messages that the turn took out of the mailbox and has not begun.
func (c *cell) consumerHolds() bool {
	if c.more != nil && len(c.more.ready) > 0 {
		return true
	}
	return c.current != nil && c.current.head < c.current.tail
}
