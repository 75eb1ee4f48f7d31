package memberlist

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	lib "github.com/hashicorp/memberlist"

	"github.com/granary-go/granary/core"
)

// session is one stay in the pool, from Join or Watch to Leave. Callbacks of the library write to
// table and wake the owner goroutine (owner.go), which alone calls the library after the join.
type session struct {
	cfg     settings
	env     core.Env
	report  func(*core.View)
	list    *lib.Memberlist
	trans   *transport
	queue   *lib.TransmitLimitedQueue
	refused *refusals
	outage  *outage
	wake    chan struct{} // something changed
	work    chan func()   // what blocks, for the worker goroutine
	quit    chan struct{} // closed by halt
	down    *atomic.Bool  // set by close: what the library logs from here on is of no interest
	halted  sync.Once
	group   sync.WaitGroup
	address string // ip:port that the gossip is reached at

	contacted []string // by join

	gossiped chan struct{} // a packet of gossip is being filled

	nodes atomic.Int64 // as NumNodes of queue, which may not take mu

	mu        sync.Mutex // guards what follows; never held across a call of the library
	table     *table
	advertise bool                   // the own row changed and is to be spread
	asking    map[core.MemberID]bool // who wants the own row
	lost      map[string]time.Time   // gossip addresses of nodes that went, to be tried again
	taken     error                  // the own ID is another's
	entered   bool                   // the join is through
	echoes    map[core.MemberID]echo // what members are to be shown that others say of them
}

// echo is news about a member, and where to show it to that member: if it did not say so itself, it
// refutes it.
type echo struct {
	address string
	message []byte
}

// maxPacket is what is sent in one packet, beside what the library adds.
const maxPacket = 1000

// open starts the library, which listens from now on. Nobody is contacted.
func open(ctx context.Context, cfg settings, env core.Env, own row, client bool, report func(*core.View)) (*session, error) {
	down := new(atomic.Bool)
	logger := newLibraryLog(env.Logger, down)
	c := cfg.library()
	inner, err := listen(cfg.bind, logger)
	if err != nil {
		return nil, err
	}
	s := &session{
		cfg: cfg, env: env, report: report, down: down,
		refused:  &refusals{logger: env.Logger, clock: env.Clock},
		outage:   &outage{logger: env.Logger, seeds: cfg.Seeds},
		wake:     make(chan struct{}, 1),
		work:     make(chan func(), 64),
		quit:     make(chan struct{}),
		gossiped: make(chan struct{}),
		table:    newTable(own, client),
		asking:   map[core.MemberID]bool{},
		echoes:   map[core.MemberID]echo{},
		lost:     map[string]time.Time{},
	}
	s.nodes.Store(1)
	s.queue = &lib.TransmitLimitedQueue{NumNodes: func() int { return int(s.nodes.Load()) }, RetransmitMult: c.RetransmitMult}
	s.trans = newTransport(ctx, inner, s.spawn)
	c.Name = string(own.ID)
	c.Logger = logger
	c.Transport = s.trans
	c.BindPort = inner.GetAutoBindPort()
	if c.AdvertiseAddr == "" {
		c.AdvertisePort = c.BindPort
	}
	d := delegate{s}
	c.Delegate, c.Events, c.Alive, c.Conflict = d, d, d, d
	if s.list, err = lib.Create(c); err != nil {
		_ = s.trans.Shutdown()
		s.group.Wait()
		return nil, fmt.Errorf("%w: %w", err, core.ErrInvalid)
	}
	s.address = s.list.LocalNode().Address()
	return s, nil
}

// listen binds UDP and TCP at one port. For a port that the kernel chooses, the other protocol may
// find it taken; then another is tried.
func listen(at netip.AddrPort, logger *log.Logger) (*lib.NetTransport, error) {
	var err error
	for range 10 {
		var t *lib.NetTransport
		t, err = lib.NewNetTransport(&lib.NetTransportConfig{
			BindAddrs: []string{at.Addr().String()}, BindPort: int(at.Port()), Logger: logger,
		})
		if err == nil {
			return t, nil
		}
		if at.Port() != 0 {
			break
		}
	}
	return nil, fmt.Errorf("listen on %s: %w: %w", at, err, core.ErrUnreachable)
}

// spawn runs f on a goroutine that close joins.
func (s *session) spawn(name string, f func()) {
	s.group.Add(1)
	s.env.Go(name, func() {
		defer s.group.Done()
		f()
	})
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// change runs f with the table; if f tells that something changed, the owner has a look.
func (s *session) change(f func(t *table) bool) {
	s.mu.Lock()
	changed := f(s.table)
	s.nodes.Store(int64(len(s.table.nodes) + 1))
	s.mu.Unlock()
	if changed {
		s.poke()
	}
}

func (s *session) alive(m meta, address string) {
	s.change(func(t *table) bool {
		if t.alive(m, address) {
			s.echo(m.id, address, encodeRow(t.nodes[m.id].row))
		}
		delete(s.lost, address)
		return m.id != t.id
	})
}

// echo has a message about a member shown to that member. s.mu is held.
func (s *session) echo(id core.MemberID, address string, message []byte) {
	if len(message) <= maxPacket && len(s.echoes) < maxPending { // beyond, it comes with the next push/pull
		s.echoes[id] = echo{address, message}
	}
}

// encodeRow is the message that carries w.
func encodeRow(w row) []byte { return append([]byte{msgRow}, w.encode()...) }

func (s *session) gone(id core.MemberID) {
	s.change(func(t *table) bool {
		address := t.gone(id)
		if address != "" && len(s.lost) < maxPending {
			s.lost[address] = s.env.Clock.Now()
		}
		return address != ""
	})
}

// merge takes a row in. If it is news about a live member it is passed on as message; nil: it is
// not, since a whole state is not gossip. The member itself is shown it.
func (s *session) merge(w row, message []byte) {
	var forged error
	s.change(func(t *table) bool {
		if w.ID == t.id {
			forged = s.ownRow(t, w)
			return true
		}
		news := t.merge(w)
		if n := t.nodes[w.ID]; news && n != nil {
			s.echo(w.ID, n.address, encodeRow(w))
			if message != nil && len(message) <= maxPacket {
				s.queue.QueueBroadcast(broadcast{w.ID, message})
			}
		}
		return news
	})
	if forged != nil {
		s.refused.add(forged)
	}
}

// ownRow takes in a row of this process that came from another one. During the join, one that it has not
// written itself means that the ID is another's, who may be suspected there, or silent for the moment. s.mu is
// held.
func (s *session) ownRow(t *table, w row) error {
	if !s.entered && !t.client && (w.Address != t.own.Address || w.Joined != t.own.Joined) {
		if s.taken == nil {
			s.taken = fmt.Errorf("member ID %q is used by the process at %s: %w", t.id, w.Address, core.ErrConflict)
		}
		return nil
	}
	return s.refute(func() error { return t.refuteRow(w) })
}

// refute has the own row spread, past what how finds to be made up about this process. One that leaves says
// nothing of itself any more: a row after its farewell would take that back. It returns what is to be logged.
// s.mu is held.
func (s *session) refute(how func() error) error {
	if s.isHalted() {
		return nil
	}
	forged := how()
	s.advertise = s.advertise || forged != nil
	return forged
}

// left takes the farewell of a member in, and passes it on likewise. The address tells it from another
// process that used the same ID by mistake; empty: not known. During the join, one of this process
// means that the ID was used before; later, that somebody made it up.
func (s *session) left(d departure, address string, message []byte) {
	var forged error
	s.change(func(t *table) bool {
		switch n := t.nodes[d.id]; {
		case d.id == t.id:
			forged = s.ownDeparture(t, d, address)
			return true
		case n != nil && address != "" && n.address != address:
			return false
		case !t.left(d):
			return false
		case n != nil:
			if message != nil {
				s.queue.QueueBroadcast(broadcast{d.id, message})
			}
			s.echo(d.id, n.address, encodeLeft(d, n.address))
		}
		return true
	})
	if forged != nil {
		s.refused.add(forged)
	}
}

// ownDeparture takes in that this process is said to have left; an error says that it was made up.
// s.mu is held.
func (s *session) ownDeparture(t *table, d departure, address string) error {
	switch {
	case address != "" && address != s.address: // a process that used this ID by mistake
	case s.entered:
		return s.refute(func() error { return t.refuteLeft(d) })
	case address == "" && s.taken == nil:
		s.taken = fmt.Errorf("member ID %q has left before, and an ID is not used again: %w", t.id, core.ErrConflict)
	}
	return nil
}

// enter notes that the join is through.
func (s *session) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entered = true
}

// wanted notes that the member id asks for the own row.
func (s *session) wanted(id core.MemberID) {
	s.change(func(t *table) bool {
		if t.client || t.nodes[id] == nil { // a stranger gets nothing
			return false
		}
		s.asking[id] = true
		return true
	})
}

// conflict notes that the process at address uses an ID that is in the pool.
func (s *session) conflict(id core.MemberID, address string) {
	s.refused.add(fmt.Errorf("memberlist: another process at %s uses the ID of member %q: %w", address, id, core.ErrConflict))
	s.change(func(t *table) bool {
		if id == t.id {
			s.taken = fmt.Errorf("member ID %q is used by the process at %s: %w", id, address, core.ErrConflict)
		}
		return id == t.id
	})
}

// update replaces the own row, once it has been checked.
func (s *session) update(m core.Member) (err error) {
	s.change(func(t *table) bool {
		if t.client || t.own.ID != m.ID || t.own.Address != m.Address {
			err = fmt.Errorf("member %q at %q is not this node, %q at %q: %w", m.ID, m.Address, t.own.ID, t.own.Address, core.ErrInvalid)
			return false
		}
		changed := t.update(m)
		s.advertise = s.advertise || changed
		return changed
	})
	return err
}

// halt ends owner and worker; close joins them.
func (s *session) halt() { s.halted.Do(func() { close(s.quit) }) }

func (s *session) isHalted() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// close gives the port back and joins the goroutines.
func (s *session) close() {
	s.halt()
	s.down.Store(true)
	s.trans.abort()
	_ = s.list.Shutdown() // it has no error but those that it has logged
	s.group.Wait()
}

// farewellTime is how long gossip may take to carry the news that this node left.
const farewellTime = time.Second

// farewell tells the others that this node leaves, and waits until a round of gossip carried it: the
// library sends what it has to say of itself before what GetBroadcasts adds.
func (s *session) farewell(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	others := len(s.table.nodes)
	message := s.table.farewell(s.address)
	s.mu.Unlock()
	s.tell(message)
	_ = s.list.Leave(time.Nanosecond) // its own waiting knows no ctx, and Shutdown may not overtake it
	if others == 0 {
		return nil
	}
	late := make(chan struct{})
	stop := s.env.Clock.AfterFunc(farewellTime, func() { close(late) })
	defer stop()
	for round := min(others, 3) + 1; round > 0; round-- {
		select {
		case <-s.gossiped:
		case <-late:
			return nil // who did not hear it will find out
		case <-ctx.Done():
			if others <= directly {
				return nil // each was sent a packet; the rounds are for those that missed theirs
			}
			return ctx.Err()
		}
	}
	return nil
}

// retract says good-bye to those that were contacted by a join that came to nothing: one may have
// taken this node in without an answer that arrived.
func (s *session) retract() {
	s.mu.Lock()
	message := s.table.farewell(s.address)
	s.mu.Unlock()
	s.tell(message)
	for _, address := range s.contacted {
		_ = s.list.SendToAddress(lib.Address{Addr: address}, message) // a packet; who misses it will find out
	}
}

// tell sends a message to each live node, where there are few, and leaves it to gossip besides.
func (s *session) tell(message []byte) {
	if len(message) > maxPacket {
		return // it is asked for
	}
	type target struct{ address, name string }
	var targets []target
	s.mu.Lock()
	s.queue.QueueBroadcast(broadcast{s.table.id, message})
	for id, n := range s.table.nodes {
		if len(targets) == directly {
			break
		}
		targets = append(targets, target{n.address, string(id)})
	}
	s.mu.Unlock()
	for _, t := range targets {
		if err := s.list.SendToAddress(lib.Address{Addr: t.address, Name: t.name}, message); err != nil {
			s.debug("could not send a packet", t.address, err)
		}
	}
}

// directly is how many nodes are told of a change without waiting for the next round of gossip.
const directly = 64

func (s *session) debug(text, address string, err error) {
	s.env.Logger.Debug(text, slog.String("address", address), slog.Any("error", err))
}
