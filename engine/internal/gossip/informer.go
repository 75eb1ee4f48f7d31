package gossip

import (
	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// round addresses the next peers of the ring. A peer that still owes an answer is left out.
func (m *Machine) round() {
	m.rounds++
	for left, tried := m.cfg.FanOut, len(m.ring); left > 0 && tried > 0; tried-- {
		p := m.nextPeer()
		if p.waiting(m.now, m.cfg.Timeout) {
			continue
		}
		m.send(p)
		left--
	}
}

// nextPeer is the next of the ring, which is dealt anew after its last.
func (m *Machine) nextPeer() *peer {
	if m.next == len(m.ring) {
		m.deal()
	}
	m.next++
	return m.peers[m.ring[m.next-1]]
}

// push tells every peer that lacks an own write, also one that still owes an answer.
func (m *Machine) push() {
	for _, id := range m.view {
		if p := m.peers[id]; p != nil && p.line(m.own) < m.own.upto {
			m.send(p)
		}
	}
}

// send begins an exchange with p. What it carries counts as held by p when p answers it.
func (m *Machine) send(p *peer) {
	if p.sent.exchange != 0 {
		m.lost(p)
	}
	m.exchange++
	r := &Request{Exchange: m.exchange, Answered: p.answered, Known: m.highestOf(p)}
	r.View, r.Versions = m.digest.hash, m.versions()
	var lines []held
	if !m.cfg.Client {
		r.Entries, lines = m.delta(p, p.pulls)
	}
	told := p.tell[:min(len(p.tell), maxLines)]
	r.Lines = linesOf(told)
	p.sent = carried{exchange: m.exchange, lines: lines, told: append([]*entry(nil), told...)}
	if simbug.On("gossip-commits-unacknowledged") {
		sent := p.sent
		p.commit(&sent)
	}
	p.at = m.now
	m.stats.Sent++
	m.emit(Send{To: p.id, Request: r})
}

// highestOf is the highest version that is known of p's own writes.
func (m *Machine) highestOf(p *peer) uint64 {
	if e := m.entries[p.id]; e != nil {
		return e.highest()
	}
	return 0
}

func linesOf(owners []*entry) (lines []Line) {
	for _, e := range owners {
		lines = append(lines, Line{Owner: e.id, Version: e.upto})
	}
	return lines
}

// delta is what p may lack, or only what of it is news, within the bounds of a message, and the lines
// that p will have then. The own entry comes first, but takes no more than three quarters of the room; the
// others have their turns.
func (m *Machine) delta(p *peer, news bool) ([]Entry, []held) {
	d := delta{m: m, p: p, news: news}
	if m.own != nil {
		d.add(m.own, m.cfg.MaxBytes*3/4)
	}
	n := len(m.order)
	for i := range n {
		at := (p.turn + i) % n
		if e := m.order[at]; e != m.own && !d.add(e, m.cfg.MaxBytes-d.size) {
			p.turn = at
			break
		}
	}
	return d.entries, d.lines
}

// delta is a message in the making.
type delta struct {
	m       *Machine
	p       *peer
	news    bool
	entries []Entry
	lines   []held
	size    int
}

// add takes what d.p lacks of e, as far as room reaches. False: not all of it had room.
func (d *delta) add(e *entry, room int) bool {
	base := d.p.line(e)
	if e.id == d.p.id || e.upto <= base || d.news && d.m.rounds-e.news >= newsRounds {
		return true
	}
	values := e.since(base)
	if len(values) == 0 {
		return true
	}
	if len(d.entries) >= d.m.cfg.MaxOwners {
		return false
	}
	size := len(e.id) + 16
	fit := 0
	for fit < len(values) && size+values[fit].size() <= room {
		size += values[fit].size()
		fit++
	}
	if fit == 0 {
		return false
	}
	d.size += size
	entry := Entry{Owner: e.id, Base: base, Relayed: e != d.m.own, Values: values[:fit:fit]}
	d.entries = append(d.entries, entry)
	d.lines = append(d.lines, held{e, entry.last()})
	return fit == len(values)
}

// receive answers a request.
func (m *Machine) receive(from core.MemberID, r *Request) {
	p, err := m.sender(from)
	if err == nil && r == nil {
		err = ErrInvalid
	}
	if err != nil {
		m.refuse(offence{from: from, err: err, count: 1})
		m.emit(Reply{To: from, Exchange: r.number(), Err: err})
		return
	}
	fresh := r.Exchange > p.seen
	if fresh {
		p.seen = r.Exchange
		m.acknowledged(p, r.Answered)
		m.believe(p, r)
		m.correct(p, r.Lines)
	}
	m.merge(p, r.Entries, fresh)
	m.refute(r.Known)
	m.emit(Reply{To: from, Exchange: r.Exchange, Response: m.respond(p, r.Exchange, fresh)})
}

func (r *Request) number() uint64 {
	if r == nil {
		return 0
	}
	return r.Exchange
}

// sender is the peer that a message is from.
func (m *Machine) sender(from core.MemberID) (*peer, error) {
	if m.isBlocked(from) {
		return nil, ErrBlocked
	}
	if p := m.peers[from]; p != nil {
		return p, nil
	}
	if _, found := m.clients[from]; !found || m.inView(from) {
		return nil, ErrUnknown
	}
	p := newPeer(from)
	p.client = true
	m.peers[from] = p
	return p, nil
}

// acknowledged counts the last response to p as held, if that is the one that p has merged. Any other
// will never count.
func (m *Machine) acknowledged(p *peer, exchange uint64) {
	if exchange == p.replied.exchange {
		p.commit(&p.replied)
	}
	p.replied = carried{}
}

// correct lowers the lines that p says are too high.
func (m *Machine) correct(p *peer, lines []Line) {
	for _, l := range lines {
		if e := m.entries[l.Owner]; e != nil && p.lower(e, l.Version) {
			m.stats.Lowered++
		}
	}
}

// respond makes the response: what p lacks. To a request that came before, or after a later one, it
// is empty and has no number: p must not take it for the response that is remembered here.
func (m *Machine) respond(p *peer, exchange uint64, fresh bool) *Response {
	if !fresh {
		return &Response{View: m.digest.hash}
	}
	r := &Response{Exchange: exchange, View: m.digest.hash}
	if m.cfg.Client {
		return r
	}
	var lines []held
	r.Entries, lines = m.delta(p, false)
	r.Lines = linesOf(p.tell[:min(len(p.tell), maxLines)])
	p.replied = carried{exchange: exchange, lines: lines}
	return r
}

// answered takes the response to an exchange. What the request carried counts as held only if this is
// the exchange that p was last asked in.
func (m *Machine) answered(from core.MemberID, exchange uint64, r *Response) {
	p, err := m.sender(from)
	switch {
	case err != nil:
		m.refuse(offence{from: from, err: err, count: 1})
		return
	case r == nil:
		m.failed(from, exchange)
		m.refuse(offence{from: from, err: ErrInvalid, count: 1})
		return
	}
	fresh := exchange != 0 && exchange == p.sent.exchange && (exchange == r.Exchange || m.cfg.Plain)
	if fresh {
		m.stats.Acked++
		p.commit(&p.sent)
		p.answered = r.Exchange
		p.pulls = m.digest.same(r.View)
		m.correct(p, r.Lines)
	}
	m.merge(p, r.Entries, fresh)
}

// failed gives an exchange up.
func (m *Machine) failed(to core.MemberID, exchange uint64) {
	if p := m.peers[to]; p != nil && exchange == p.sent.exchange && exchange != 0 {
		m.lost(p)
	}
}

// lost gives the exchange with p up. Since p may not get through, it is not waited for to ask.
func (m *Machine) lost(p *peer) {
	p.sent, p.pulls = carried{}, false
	m.stats.Lost++
}
