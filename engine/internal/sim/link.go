package main

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/internal/connector"
)

// dials is the machine that decides when to dial.
type dials interface {
	Step(now time.Time, ev connector.Event) connector.Effects
	State() connector.State
}

// Times of connections.
const (
	dialLimit   = 2 * time.Second // of a dial and the handshake
	strangers   = time.Second     // how long an unknown member is waited for
	pings       = time.Second
	silence     = 3 * time.Second
	backoffMin  = 20 * time.Millisecond
	backoffMost = time.Second
)

// link is the way to one member: at most one connection, which this side dials.
type link struct {
	n    *node
	peer core.Member
	m    dials
	cur  *conn
	wait *sim.Timer
}

// conn is one connection, with an epoch of its own. The two ends learn of its end apart from each other.
type conn struct {
	link  *link
	from  *node
	to    *node // who has let it in
	epoch uint64
	out   *sim.Pipe
	in    *sim.Pipe

	opened, over, overThere bool // as the dialler knows; ended here; ended at the acceptor
	queue                   []*ask
	asks                    []*ask // in order of sending
	seq                     uint64
	ponged, pinged          time.Duration
}

// ask is a message whose answer is outstanding.
type ask struct {
	body body
	done func(answer)
	sent bool
	over bool
}

// reachable installs whom there are links to.
func (n *node) reachable(t core.Topology) {
	left := map[core.MemberID]bool{} // in order: their last answers may be on their way
	for _, m := range t.Left {
		was, _ := n.view.Member(m.ID)
		left[m.ID] = was.Status == core.Leaving
	}
	for _, id := range sortedKeys(n.links) {
		n.part(id, t.View, left[id])
	}
	n.connect(t.View)
	for _, id := range sortedKeys(n.incoming) {
		n.part(id, t.View, left[id])
	}
}

// connect makes links to the members of v that have none.
func (n *node) connect(v *core.View) {
	for m := range v.All() {
		if n.links[m.ID] == nil && m.ID != n.id && !n.blocked[m.ID] {
			l := &link{n: n, peer: m, m: connector.New(backoffMin, backoffMost, n.rng.Float64)}
			if n.w.wrap != nil && n.w.ledger.wrapLink != nil {
				n.w.ledger.wrapLink(l)
			}
			n.links[m.ID] = l
			n.dialled = append(n.dialled, l)
			l.step(connector.Start)
		}
	}
}

// linger is how long the connections with a member that left in order are kept.
const linger = time.Second

// part ends the connections with id if it is not in v; those with a leaver somewhat later.
func (n *node) part(id core.MemberID, v *core.View, left bool) {
	if _, stays := v.Member(id); stays {
		return
	}
	if left {
		n.proc.After(linger, func() { n.part(id, n.view, false) })
		return
	}
	n.unlink(id)
	if c := n.incoming[id]; c != nil {
		c.endAcceptor()
	}
}

func (n *node) unlink(id core.MemberID) {
	if l := n.links[id]; l != nil {
		delete(n.links, id)
		l.step(connector.Close)
	}
}

// step has the machine take one event, and does what it says.
func (l *link) step(ev connector.Event) {
	do := l.m.Step(l.n.now(), ev)
	l.n.w.edge("link." + l.m.State().String())
	if do.Stop && l.wait != nil {
		l.wait.Stop()
	}
	if do.End && l.cur != nil {
		l.cur.end(errGone)
	}
	if do.Pause > 0 {
		l.wait = l.n.proc.After(do.Pause, func() { l.step(connector.Timer) })
	}
	if do.Dial {
		l.dial()
	}
}

// dial begins a connection, on which messages may be queued at once.
func (l *link) dial() {
	n := l.n
	n.epoch++
	c := &conn{link: l, from: n, epoch: n.epoch}
	l.cur = c
	n.proc.After(dialLimit, func() {
		if !c.opened && !c.over {
			n.w.edge("link.dial times out")
			c.failed(connector.Failed)
		}
	})
	host := n.w.machineAt(l.peer.Address)
	n.w.net.Pipe(n.m.name, host.kernel).Send(func() {
		if host.cur == nil {
			n.w.net.Pipe(host.name, n.proc).Send(func() {
				n.talk.refused(l.peer.ID)
				c.failed(connector.Failed)
			})
			return
		}
		host.cur.proc.Do(func() { host.cur.letIn(c, l.peer.ID, 0) })
	})
}

func (w *world) machineAt(address string) *machine {
	i := slices.IndexFunc(w.machines, func(m *machine) bool { return m.address == address })
	return w.machines[i]
}

// letIn shakes hands with who dials: the rules are those of engine/remote.
func (n *node) letIn(c *conn, target core.MemberID, waited time.Duration) {
	refuse := func(ev connector.Event) {
		n.w.net.Pipe(n.m.name, c.from.proc).Send(func() { c.failed(ev) })
	}
	_, known := core.Member{}, false
	if n.view != nil {
		_, known = n.view.Member(c.from.id)
	}
	switch {
	case target != n.id, n.blocked[c.from.id]:
		n.w.edge("link.refused")
		refuse(connector.Final)
	case !known && waited < strangers:
		n.proc.After(strangers/8, func() { n.letIn(c, target, waited+strangers/8) })
	case !known:
		n.w.edge("link.stranger")
		refuse(connector.Final)
	case c.epoch <= n.epochs[c.from.id]:
		n.w.edge("link.stale epoch")
		refuse(connector.Failed)
	default:
		n.welcome(c)
	}
}

func (n *node) welcome(c *conn) {
	n.epochs[c.from.id] = c.epoch
	if old := n.incoming[c.from.id]; old != nil {
		n.w.edge("link.replaced")
		old.endAcceptor()
	}
	n.incoming[c.from.id] = c
	c.to = n
	c.out, c.in = n.w.net.Pipe(c.from.m.name, n.proc), n.w.net.Pipe(n.m.name, c.from.proc)
	c.pinged = n.w.heap.Now()
	n.proc.While(n.phase(pings)+pings, pings, c.listen)
	c.in.Send(c.open)
}

// open is the dialler's end of the handshake.
func (c *conn) open() {
	if c.over {
		c.out.Send(c.endAcceptor)
		return
	}
	c.opened, c.ponged = true, c.from.w.heap.Now()
	c.link.step(connector.Opened)
	queue := c.queue
	c.queue = nil
	for _, a := range queue {
		c.send(a)
	}
	c.from.proc.While(c.from.phase(pings), pings, c.ping)
}

// ping asks for a sign of life, and ends the connection if there was none for long.
func (c *conn) ping() bool {
	if c.over {
		return false
	}
	if c.from.w.heap.Now()-c.ponged > silence {
		c.from.w.edge("link.silent")
		c.end(errLost)
		return false
	}
	c.out.Send(func() {
		if !c.overThere {
			c.pinged = c.from.w.heap.Now()
			c.in.Send(func() { c.ponged = c.from.w.heap.Now() })
		}
	})
	return true
}

// listen is the acceptor's side of ping.
func (c *conn) listen() bool {
	if !c.overThere && c.from.w.heap.Now()-c.pinged > silence+pings {
		c.endAcceptor()
	}
	return !c.overThere
}

// ask sends a message to a member; done is called once.
func (n *node) ask(to core.MemberID, b body, done func(answer)) {
	l := n.links[to]
	if l == nil || l.cur == nil {
		done(answer{err: errUnreachable})
		return
	}
	l.cur.send(&ask{body: b, done: done})
}

func (c *conn) send(a *ask) {
	if !c.opened {
		c.queue = append(c.queue, a)
		return
	}
	a.sent = true
	c.asks = append(c.asks, a)
	c.seq++
	seq := c.seq
	c.out.Send(func() { c.arrive(a, seq) })
}

// arrive is a message at its destination.
func (c *conn) arrive(a *ask, seq uint64) {
	n := c.to
	if c.overThere {
		return
	}
	c.pinged = n.w.heap.Now()
	n.w.checkArrival(n, c, seq)
	n.talk.hear(c.from.id)
	n.handle(c.from, a.body, func(r answer) {
		if c.overThere || !n.proc.Alive() {
			return
		}
		c.in.Send(func() { c.answered(a, r) })
	})
}

func (c *conn) answered(a *ask, r answer) {
	if c.over || a.over {
		return
	}
	c.ponged = c.from.w.heap.Now()
	a.over = true
	c.asks = slices.DeleteFunc(c.asks, func(o *ask) bool { return o == a })
	c.from.talk.hear(c.to.id)
	a.done(r)
}

// failed is a dial that led to nothing.
func (c *conn) failed(ev connector.Event) {
	if c.over || c.opened {
		return
	}
	c.close(errUnreachable)
	c.link.step(ev)
}

// end ends the dialler's side: what was sent may have arrived.
func (c *conn) end(reason error) {
	if c.over {
		return
	}
	opened := c.opened
	c.close(reason)
	if c.out != nil {
		c.out.Send(c.endAcceptor)
	}
	if opened {
		c.from.w.edge("link.lost")
		c.link.step(connector.Lost)
	}
}

// close fails what is outstanding.
func (c *conn) close(reason error) {
	c.over = true
	if c.link.cur == c {
		c.link.cur = nil
	}
	asks, queue := c.asks, c.queue
	c.asks, c.queue = nil, nil
	for _, a := range asks {
		a.over = true
		a.done(answer{err: errLost})
	}
	for _, a := range queue {
		a.over = true
		a.done(answer{err: undelivered(reason)})
	}
}

// endAcceptor ends the other side, which tells the dialler.
func (c *conn) endAcceptor() {
	if c.overThere {
		return
	}
	c.overThere = true
	if c.to.incoming[c.from.id] == c {
		delete(c.to.incoming, c.from.id)
	}
	c.in.Send(func() { c.end(errLost) })
}

// reset has the kernel of one end tell the other that the process is gone.
func (c *conn) reset(other *node) {
	if other == nil {
		return
	}
	gone := c.from
	if other == c.from {
		gone = c.to
	}
	c.from.w.net.Pipe(gone.m.name, other.proc).Send(func() {
		if other == c.from {
			c.end(errLost)
		} else {
			c.endAcceptor()
		}
	})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
