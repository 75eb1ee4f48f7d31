package sim

import (
	"math/rand/v2"
	"time"
)

// Link is one direction between two machines. Shares are in thousandths.
type Link struct {
	Cuts      int           // while positive nothing passes
	Delay     time.Duration // besides the usual one
	Jitter    time.Duration // up to this much more, drawn for each message
	Drop      int
	Duplicate int
	Reorder   int // of messages that are held back behind later ones

	waiting []*Pipe // that have something to say once the cuts are over
}

// Net carries messages between machines. It is for one goroutine.
type Net struct {
	heap  *Heap
	rng   *rand.Rand
	least time.Duration
	most  time.Duration
	links map[[2]string]*Link
}

// How long what was lost on a pipe takes to be sent again, and how far a datagram is held back.
const (
	retransmit = 200 * time.Millisecond
	heldBack   = 60 * time.Millisecond
)

// NewNet makes a net whose links are whole, each message taking between least and most.
func NewNet(h *Heap, rng *rand.Rand, least, most time.Duration) *Net {
	return &Net{heap: h, rng: rng, least: least, most: most, links: map[[2]string]*Link{}}
}

// Link is the direction from one machine to another, to be changed in place; cuts go by Cut and Mend.
func (n *Net) Link(from, to string) *Link {
	key := [2]string{from, to}
	l := n.links[key]
	if l == nil {
		l = &Link{}
		n.links[key] = l
	}
	return l
}

// Cut stops what goes from one machine to another; cuts nest.
func (n *Net) Cut(from, to string) { n.Link(from, to).Cuts++ }

// Mend takes back one Cut. When it was the last one, pipes go on with what they held.
func (n *Net) Mend(from, to string) {
	l := n.Link(from, to)
	if l.Cuts--; l.Cuts > 0 {
		return
	}
	waiting := l.waiting
	l.waiting = nil
	for _, p := range waiting {
		p.queued = false
		p.pump()
	}
}

// Open reports whether messages pass.
func (n *Net) Open(from, to string) bool { return n.Link(from, to).Cuts == 0 }

// share is true so many times in a thousand, and never always: faults may add up.
func (n *Net) share(thousandths int) bool {
	return thousandths > 0 && n.rng.IntN(1000) < min(thousandths, 900)
}

// latency draws how long a message takes. Always in odd nanoseconds, so that hardly two events meet.
func (n *Net) latency(l *Link) time.Duration {
	d := n.least + time.Duration(n.rng.Int64N(int64(n.most-n.least)+1)) + l.Delay
	if l.Jitter > 0 {
		d += time.Duration(n.rng.Int64N(int64(l.Jitter)))
	}
	return d
}

// Send carries a datagram: it may be lost, come twice, late, or behind later ones.
func (n *Net) Send(from string, to *Process, deliver func()) {
	l := n.Link(from, to.Name)
	if l.Cuts > 0 || n.share(l.Drop) {
		return
	}
	copies := 1
	if n.share(l.Duplicate) {
		copies = 2
	}
	for range copies {
		d := n.latency(l)
		if n.share(l.Reorder) {
			d += time.Duration(n.rng.Int64N(int64(heldBack)))
		}
		n.heap.After(d, func() { to.Do(deliver) })
	}
}

// Pipe is one direction of a connection: what goes in comes out in order and once, or not at all after
// Break. Loss shows as delay, and a cut holds everything back until it is mended.
type Pipe struct {
	net    *Net
	from   string
	to     *Process
	last   time.Duration // when the latest message arrives
	flight []func()      // what has not come out, in order
	round  int           // of sending what is in flight; arrivals of earlier ones do not count
	queued bool          // at a link that is cut
	broken bool
}

// Pipe opens a direction to a process.
func (n *Net) Pipe(from string, to *Process) *Pipe { return &Pipe{net: n, from: from, to: to} }

// Send puts a message in.
func (p *Pipe) Send(deliver func()) {
	if p.broken {
		return
	}
	p.flight = append(p.flight, deliver)
	if p.open() {
		p.travel()
	}
}

// Break loses everything that has not come out.
func (p *Pipe) Break() { p.broken, p.flight = true, nil }

// open is false for a link that is cut; the pipe is then called once it is mended.
func (p *Pipe) open() bool {
	l := p.net.Link(p.from, p.to.Name)
	if l.Cuts == 0 {
		return true
	}
	if !p.queued {
		p.queued = true
		p.round++
		l.waiting = append(l.waiting, p)
	}
	return false
}

// pump sends everything once more, after a cut.
func (p *Pipe) pump() {
	p.round++
	for range p.flight {
		p.travel()
	}
}

// travel lets one more message arrive, behind those before it.
func (p *Pipe) travel() {
	l := p.net.Link(p.from, p.to.Name)
	d := p.net.latency(l)
	for p.net.share(l.Drop) {
		d += retransmit
	}
	p.last = max(p.last+1, p.net.heap.now+d)
	round := p.round
	p.net.heap.After(p.last-p.net.heap.now, func() {
		if round == p.round && p.open() {
			p.arrive()
		}
	})
}

// arrive hands over the message that is first in order.
func (p *Pipe) arrive() {
	if len(p.flight) == 0 {
		return
	}
	deliver := p.flight[0]
	p.flight = p.flight[1:]
	p.to.Do(func() {
		if !p.broken {
			deliver()
		}
	})
}
