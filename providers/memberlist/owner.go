package memberlist

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	lib "github.com/hashicorp/memberlist"

	"github.com/granary-go/granary/core"
)

// owner is the state of the goroutine that reports views and calls the library.
type owner struct {
	*session
	epoch  uint64
	last   *core.View // reported
	greet  time.Time  // when to exchange states with the others; zero: not planned
	rejoin time.Time  // when to try again who is not in the pool
}

// run reports, spreads, asks and answers until Leave.
func (s *session) run() {
	now := s.env.Clock.Now()
	o := owner{session: s, rejoin: now.Add(jitter(s.env.Rand, s.cfg.rejoin/4)), greet: now.Add(jitter(s.env.Rand, greetAfter))}
	o.meet()
	for !s.isHalted() {
		o.publish()
		o.spread()
		o.answer()
		o.show()
		wait := o.chase()
		stop := s.env.Clock.AfterFunc(wait, s.poke)
		select {
		case <-s.wake:
			stop()
		case <-s.quit:
			stop()
			return
		}
	}
}

// publish reports the view if it is another one.
func (o *owner) publish() {
	o.mu.Lock()
	changed, over := o.table.contest()
	o.advertise = o.advertise || changed
	members := o.table.members()
	others, address := len(o.table.nodes), o.table.own.Address
	o.mu.Unlock()
	if others > 0 {
		o.outage.over()
	}
	for _, id := range over {
		o.env.Logger.Warn("another process advertises the address of this member, and is in the views in its place; give each an address of its own",
			slog.String("address", address), slog.String("member", string(id)))
	}
	view, err := core.NewView(core.ViewRecord{Epoch: o.epoch + 1, Revision: o.epoch + 1, Members: members})
	if err != nil { // every row was checked, and no ID or address is there twice
		o.refused.add(err)
		return
	}
	if o.last != nil && o.last.Hash() == view.Hash() {
		return
	}
	o.epoch, o.last = o.epoch+1, view
	o.report(view)
}

// spread tells the others of a change of the own row.
func (o *owner) spread() {
	o.mu.Lock()
	changed := o.advertise
	o.advertise = false
	message := encodeRow(o.table.own)
	client := o.table.client
	o.mu.Unlock()
	if !changed {
		return
	}
	o.greet = o.env.Clock.Now().Add(jitter(o.env.Rand, greetAfter))
	if !client {
		o.tell(message)
	}
	_ = o.list.UpdateNode(time.Nanosecond) // it is queued; waiting until it was sent often enough would only take time
}

// answer sends the own row to who asked for it.
func (o *owner) answer() {
	o.mu.Lock()
	asking := o.asking
	o.asking = map[core.MemberID]bool{}
	message := encodeRow(o.table.own)
	var targets []ask
	for id := range asking {
		if n := o.table.nodes[id]; n != nil {
			targets = append(targets, ask{id: id, address: n.address})
		}
	}
	o.mu.Unlock()
	for _, t := range targets {
		o.send(t, message, len(message) > maxPacket)
	}
}

// show tells members what was heard of them, so that each can refute what it did not say. In a large
// pool only some do, since each that took it in may.
func (o *owner) show() {
	o.mu.Lock()
	echoes := o.echoes
	o.echoes = map[core.MemberID]echo{}
	others := len(o.table.nodes)
	o.mu.Unlock()
	for id, e := range echoes {
		if others <= directly || o.env.Rand.IntN(others) < directly {
			o.send(ask{id: id, address: e.address}, e.message, false)
		}
	}
}

// chase asks for rows that have not come, tries who is not in the pool, and tells how long from now
// there is something to do.
func (o *owner) chase() time.Duration {
	now := o.env.Clock.Now()
	o.mu.Lock()
	due, next := o.table.missing(now)
	id := o.table.id
	o.mu.Unlock()
	for _, d := range due {
		// Where packets do not get through, every third question goes by stream.
		o.send(d, append([]byte{msgWant}, id...), d.attempt%3 == 0)
	}
	if !now.Before(o.rejoin) {
		o.rejoin = now.Add(jitter(o.env.Rand, o.cfg.rejoin))
		o.reunite(now)
	}
	if !o.greet.IsZero() && !now.Before(o.greet) {
		o.greet = time.Time{}
		o.meet()
	}
	for _, at := range []time.Time{o.rejoin, o.greet} {
		if wait := at.Sub(now); !at.IsZero() && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next
}

// Gossip sends each piece of news a few times to nodes drawn at random, so in a small pool one may
// never be drawn, and would hear of it with the next push/pull only, after half a minute. So a node
// exchanges states with the others when it has joined, and again a little later, when those that
// joined at the same time are known; and after each change of its row.
const (
	greetAfter = 500 * time.Millisecond
	greetMost  = 16 // in larger pools these pass it on
)

func (o *owner) meet() {
	var addresses []string
	o.mu.Lock()
	for _, n := range o.table.nodes {
		if n.address != o.address {
			addresses = append(addresses, n.address)
		}
	}
	o.mu.Unlock()
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	o.env.Rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	for _, address := range addresses[:min(len(addresses), greetMost)] {
		o.later(func() {
			if _, err := o.list.Join([]string{address}); err != nil {
				o.debug("could not exchange states", address, err)
			}
		})
	}
}

// send carries a message to one node: in a packet, or reliably by a stream of the worker.
func (o *owner) send(to ask, message []byte, reliably bool) {
	if !reliably {
		if err := o.list.SendToAddress(lib.Address{Addr: to.address, Name: string(to.id)}, message); err != nil {
			o.debug("could not send a packet", to.address, err)
		}
		return
	}
	at, err := netip.ParseAddrPort(to.address)
	if err != nil {
		o.debug("could not send a message", to.address, err)
		return
	}
	o.later(func() {
		node := &lib.Node{Name: string(to.id), Addr: at.Addr().AsSlice(), Port: at.Port()}
		if err := o.list.SendReliable(node, message); err != nil {
			o.debug("could not send a message", to.address, err)
		}
	})
}

// later hands what blocks to the worker. What does not fit is dropped: it is asked for again, or
// comes with the next push/pull.
func (s *session) later(f func()) {
	select {
	case s.work <- f:
	default:
	}
}

// serve is the worker.
func (s *session) serve() {
	for {
		select {
		case f := <-s.work:
			f()
		case <-s.quit:
			return
		}
	}
}

// lostFor is how long a node that went is looked for.
const lostFor = time.Hour

// reunite contacts one address that was in the pool or is a seed, but is not in the pool: after a
// cut that lasted longer than the suspicion, nobody else would bring the halves together.
func (o *owner) reunite(now time.Time) {
	o.mu.Lock()
	present := map[string]bool{o.address: true}
	for _, n := range o.table.nodes {
		present[n.address] = true
	}
	var absent []string
	for address, since := range o.lost {
		if now.Sub(since) > lostFor {
			delete(o.lost, address)
		} else if !present[address] {
			absent = append(absent, address)
		}
	}
	o.mu.Unlock()
	slices.Sort(absent)
	absent = append(absent, o.cfg.Seeds...)
	if len(absent) == 0 {
		return
	}
	address := absent[o.env.Rand.IntN(len(absent))]
	alone := len(present) == 1
	o.later(func() {
		if err := o.contact(address, present); err != nil && alone && slices.Contains(o.cfg.Seeds, address) {
			o.outage.fails(err)
		}
	})
}
