package gossip

import (
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// peer is what is known of how much another process knows.
type peer struct {
	id     core.MemberID
	client bool
	lines  []uint64 // by slot: the peer holds the owner's writes up to here; missing: 0
	turn   int      // index in Machine.order at which the next message begins
	tell   []*entry // owners of whom the peer is to be told how little is held here

	sent     carried // the request that is not answered yet
	at       time.Time
	replied  carried // the last response
	seen     uint64  // highest exchange that the peer has begun
	answered uint64  // last own exchange whose response was merged
	// pulls says that the peer has the same view and gets through: it asks for what it lacks, so that
	// only news are sent unasked.
	pulls bool
}

func newPeer(id core.MemberID) *peer { return &peer{id: id} }

// carried is what one message carried, to be counted as held by its receiver when that says so.
type carried struct {
	exchange uint64 // 0: none
	lines    []held
	told     []*entry
}

// held is a line that rises to upto.
type held struct {
	e    *entry
	upto uint64
}

// drop takes e out, so that it is not counted.
func (c *carried) drop(e *entry) {
	c.lines = slices.DeleteFunc(c.lines, func(h held) bool { return h.e == e })
	c.told = slices.DeleteFunc(c.told, func(t *entry) bool { return t == e })
}

func (p *peer) line(e *entry) uint64 {
	if e.slot < len(p.lines) {
		return p.lines[e.slot]
	}
	return 0
}

func (p *peer) setLine(e *entry, v uint64) {
	if e.slot >= len(p.lines) {
		p.lines = append(p.lines, make([]uint64, e.slot+1-len(p.lines))...)
	}
	p.lines[e.slot] = v
}

// raise notes that the peer holds e's writes up to v.
func (p *peer) raise(e *entry, v uint64) {
	if v > p.line(e) {
		p.setLine(e, v)
	}
}

// lower notes that the peer holds no more of e than up to v, whatever it acknowledges from now on of
// what was sent before.
func (p *peer) lower(e *entry, v uint64) (lowered bool) {
	p.sent.drop(e)
	p.replied.drop(e)
	if v >= p.line(e) {
		return false
	}
	p.setLine(e, v)
	return true
}

// commit counts what a message carried as held by the peer, which has acknowledged it.
func (p *peer) commit(c *carried) {
	for _, h := range c.lines {
		p.raise(h.e, h.upto)
	}
	if len(c.told) > 0 {
		p.untell(func(e *entry) bool { return slices.Contains(c.told, e) })
	}
	*c = carried{}
}

// forget takes those who are gone out of everything; their slots will be others'.
func (p *peer) forget(gone []*entry) {
	for _, e := range gone {
		if e.slot < len(p.lines) {
			p.lines[e.slot] = 0
		}
	}
	p.sent.forget()
	p.replied.forget()
	p.untell((*entry).isGone)
}

// forget takes out who is gone.
func (c *carried) forget() {
	c.lines = slices.DeleteFunc(c.lines, func(h held) bool { return h.e.gone })
	c.told = slices.DeleteFunc(c.told, (*entry).isGone)
}

// untell takes those of whom the peer need not be told out of the list, which other peers may share.
func (p *peer) untell(which func(*entry) bool) {
	if !slices.ContainsFunc(p.tell, which) {
		return
	}
	rest := make([]*entry, 0, len(p.tell))
	for _, e := range p.tell {
		if !which(e) {
			rest = append(rest, e)
		}
	}
	p.tell = rest
}

// waiting reports whether a request is on its way and may still be answered in time.
func (p *peer) waiting(now time.Time, limit time.Duration) bool {
	return p.sent.exchange != 0 && now.Sub(p.at) < limit
}
