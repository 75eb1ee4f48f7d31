package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connguard"
	"github.com/granary-go/granary/engine/internal/group"
)

// Remote connects one actor system with those of other members. Its life: New, Listen, Start,
// SetMembers again and again, Drain, Stop. It is safe for concurrent use.
type Remote struct {
	cfg     Config
	limits  *Limits
	log     *slog.Logger
	clock   core.Clock
	group   *group.Group
	opener  opener
	root    context.Context // of all links
	cancel  context.CancelCauseFunc
	frames  sync.Pool
	watches *watches
	quiet   quiet
	notices notices
	clients *connguard.Budget // what is held for them
	born    time.Time         // origin of heard

	raw      atomic.Pointer[rawTargets]
	epoch    atomic.Uint64 // of connections that this side opens
	tick     atomic.Uint32 // four a Limits.AskAge
	draining atomic.Bool
	stopping chan struct{} // closed by Stop

	randMu sync.Mutex

	mu        sync.Mutex
	state     state
	listener  net.Listener
	accepter  listener
	address   string
	sys       *actor.System // set before the first link
	replier   actor.Replier // sys
	rows      map[core.MemberID]core.Member
	byAddress map[string]core.MemberID
	endpoints map[core.MemberID]*endpoint
	incoming  map[core.MemberID]*conn
	epochs    map[core.MemberID]uint64 // last of each peer
	blocked   blockList
	changed   chan struct{} // closed and renewed when one of the above changes, or a link does
	ticker    func() bool   // stops the clock of tick
	watcher   func() bool   // stops the clock of watchClients; nil: it does not run
}

type state uint8

const (
	isNew state = iota
	isListening
	isStarted
	isStopped
)

// askTicks is Limits.AskAge in ticks.
const askTicks = 4

// New checks cfg, joining all complaints, and makes a Remote. It does no I/O.
func New(cfg Config) (*Remote, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	r := &Remote{
		cfg: cfg, log: cfg.Env.Logger, clock: cfg.Env.Clock, group: group.With(cfg.Env.Go),
		watches: newWatches(), stopping: make(chan struct{}), changed: make(chan struct{}),
		rows: map[core.MemberID]core.Member{}, byAddress: map[string]core.MemberID{},
		endpoints: map[core.MemberID]*endpoint{}, incoming: map[core.MemberID]*conn{}, epochs: map[core.MemberID]uint64{},
	}
	r.limits, r.born = &r.cfg.Limits, r.clock.Now()
	r.clients = connguard.NewBudget(r.limits.ClientBytes, r.limits.ClientConnectionBytes)
	r.root, r.cancel = context.WithCancelCause(context.Background()) // the one root of this service
	r.opener = &grpcOpener{cfg: r.cfg, root: r.root}
	return r, nil
}

// AllowRaw lets target take messages of these types as bytes, whether they are registered or not: it
// gets them as *Inbound. A target that ends in "/" stands for all process IDs that begin with it.
func (r *Remote) AllowRaw(target string, types ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raw.Store(r.raw.Load().with(target, types))
}

// Listen binds the address and returns what peers dial. Nothing is accepted before Start. A client
// binds nothing; its address only stands in its PIDs.
func (r *Remote) Listen(ctx context.Context) (address string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != isNew {
		return "", fmt.Errorf("remote: listen: %w: it was called before, or after Stop", core.ErrConflict)
	}
	if r.cfg.Client {
		r.state, r.address = isListening, r.cfg.Advertise
		if r.address == "" {
			r.address = "client@" + string(r.cfg.Member)
		}
		return r.address, nil
	}
	l, err := r.cfg.Transport.Listen(ctx, r.cfg.Address)
	if err != nil {
		return "", fmt.Errorf("remote: listen on %s: %w", r.cfg.Address, err)
	}
	if r.address, err = advertised(r.cfg.Advertise, l.Addr().String()); err != nil {
		return "", errors.Join(fmt.Errorf("remote: listen on %s: %w", r.cfg.Address, err), l.Close())
	}
	r.state, r.listener = isListening, l
	return r.address, nil
}

// advertised is what peers dial: bound, unless the deployment says otherwise.
func advertised(advertise, bound string) (string, error) {
	if advertise == "" {
		return bound, nil
	}
	host, port, err := net.SplitHostPort(advertise)
	if err != nil || port != "0" {
		return advertise, err
	}
	_, port, err = net.SplitHostPort(bound)
	return net.JoinHostPort(host, port), err
}

// Start begins to serve sys: it becomes the way to foreign PIDs, and peers are let in. The address of
// sys must be the one that Listen returned, its member ID the one of the configuration.
func (r *Remote) Start(sys *actor.System) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != isListening {
		return fmt.Errorf("remote: start: %w: Listen comes first, and Start once", core.ErrConflict)
	}
	if sys.Member() != r.cfg.Member || sys.Address() != r.address {
		return fmt.Errorf("remote: start: the system is %s at %s, remoting %s at %s: %w",
			sys.Member(), sys.Address(), r.cfg.Member, r.address, core.ErrInvalid)
	}
	r.state, r.sys, r.replier = isStarted, sys, sys
	sys.SetRemote(r.process)
	r.scheduleTick()
	if r.listener != nil {
		gate := connguard.New(r.limits.guard(), r.clock, func(a net.Addr) { r.turnedAway(a.String(), errGate) }, r.cut)
		r.accepter = newGRPCListener(r.cfg, gate, func(a net.Addr, err error) { r.turnedAway(a.String(), err) })
		accepter, l := r.accepter, r.listener
		r.group.Go("remote: accept", func() {
			if err := accepter.serve(l, r.accept); err != nil {
				r.log.Error("remote: accepting has ended", "error", err)
			}
		})
	}
	for _, ep := range r.endpoints {
		r.startEndpoint(ep)
	}
	return nil
}

var errGate = errors.New("too many connections; see Limits.Connections and Limits.Handshakes")

// SetMembers installs a view: links to joiners are opened at once; those of leavers end, and what is
// outstanding on them fails. A member that was taken for a leaver and comes back is let in again,
// unless it is blocked. It does not block.
func (r *Remote) SetMembers(t core.Topology) {
	if t.View == nil {
		return
	}
	r.mu.Lock()
	if r.state == isStopped {
		r.mu.Unlock()
		return
	}
	r.rows, r.byAddress = map[core.MemberID]core.Member{}, map[string]core.MemberID{}
	for m := range t.View.All() {
		r.rows[m.ID] = m
		r.byAddress[m.Address] = m.ID
		r.join(m)
	}
	var left []*endpoint
	for id, ep := range r.endpoints {
		if row, stays := r.rows[id]; !ep.client && (!stays || row.Address != ep.member.Address) {
			left = append(left, ep)
			delete(r.endpoints, id)
		}
	}
	r.forgetEpochs()
	ended := r.unknown()
	r.broadcast()
	r.mu.Unlock()
	slices.SortFunc(left, byMember)
	r.part(left, ended, errLeft)
}

func byMember(a, b *endpoint) int { return cmp.Compare(a.member.ID, b.member.ID) }

// forgetEpochs bounds what is remembered of members that left: not at once, since one may come back. The
// caller holds r.mu.
func (r *Remote) forgetEpochs() {
	if len(r.epochs) < maxBlocked {
		return
	}
	maps.DeleteFunc(r.epochs, func(id core.MemberID, _ uint64) bool {
		_, stays := r.rows[id]
		return !stays && r.incoming[id] == nil
	})
}

// join makes the endpoint of a member. The caller holds r.mu.
func (r *Remote) join(m core.Member) {
	if m.ID == r.cfg.Member || r.blocked.has(m.ID) {
		return
	}
	old := r.endpoints[m.ID]
	if old != nil && !old.client && old.member.Address == m.Address {
		return
	}
	if r.cfg.Client && m.Address == "" {
		return
	}
	switch {
	case old == nil:
	case old.client: // it took the ID of a member to come
		delete(r.epochs, m.ID)
		r.group.Go("remote: end", func() { old.close(errReplaced) })
	default:
		old.close(errLeft)
	}
	ep := r.newEndpoint(m, false)
	r.endpoints[m.ID] = ep
	if r.state == isStarted {
		r.startEndpoint(ep)
	}
}

func (r *Remote) startEndpoint(ep *endpoint) {
	if !ep.client {
		ep.start()
	}
}

// unknown lists incoming connections of members that are in the view no more. The caller holds r.mu.
func (r *Remote) unknown() (out []*conn) {
	for id, c := range r.incoming {
		if row, stays := r.rows[id]; !c.peer.Client && (!stays || row.Address != c.peer.Member.Address) || r.blocked.has(id) {
			out = append(out, c)
		}
	}
	return out
}

// part ends what belongs to peers that are gone.
func (r *Remote) part(eps []*endpoint, conns []*conn, reason error) {
	for _, c := range conns {
		c.end(reason)
	}
	for _, ep := range eps {
		ep.close(reason)
		r.unreachable(ep.member.ID, ep.member.Address)
	}
}

// Block refuses these IDs from now on, until Unblock, and ends their connections. Of each connection the one message that was being handed over while Block ran may still arrive,
// none behind it.
func (r *Remote) Block(ids ...core.MemberID) {
	r.mu.Lock()
	var eps []*endpoint
	for _, id := range ids {
		r.blocked.add(id)
		if ep := r.endpoints[id]; ep != nil {
			eps = append(eps, ep)
			delete(r.endpoints, id)
		}
	}
	ended := r.unknown()
	r.broadcast()
	r.mu.Unlock()
	r.part(eps, ended, errBlocked)
}

// Unblock lets these IDs in again: their block has ended. Links to those in the view are opened at once,
// which is the begin of another stay.
func (r *Remote) Unblock(ids ...core.MemberID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == isStopped {
		return
	}
	for _, id := range ids {
		r.blocked.remove(id)
		if row, listed := r.rows[id]; listed {
			r.join(row)
		}
	}
	r.broadcast()
}

// Connected waits until links to all of ids are open, this member's own ID excepted. When ctx ends before,
// the error names those that are not, and is a core.ErrUnreachable and the cause of ctx.
func (r *Remote) Connected(ctx context.Context, ids []core.MemberID) error {
	for {
		missing, changed := r.missing(ids)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-r.stopping:
			return fmt.Errorf("remote: wait for links: %w", errStopping)
		case <-ctx.Done():
			return fmt.Errorf("remote: wait for links to %v: %w: %w", missing, core.ErrUnreachable, context.Cause(ctx))
		}
	}
}

func (r *Remote) missing(ids []core.MemberID) ([]core.MemberID, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []core.MemberID
	for _, id := range ids {
		if ep := r.endpoints[id]; id != r.cfg.Member && (ep == nil || !ep.linked.Load()) {
			out = append(out, id)
		}
	}
	return out, r.changed
}

// process is who carries messages to pid.
func (r *Remote) process(pid core.PID) (actor.Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := pid.Member
	if id == "" {
		id = r.byAddress[pid.Address]
	}
	if ep := r.endpoints[id]; ep != nil {
		return ep, nil
	}
	err := fmt.Errorf("remote: send to %s: member %q is not in the view: %w", pid, id, core.ErrUnreachable)
	if r.state == isStopped {
		err = fmt.Errorf("remote: send to %s: %w", pid, errStopping)
	}
	return nil, undelivered(err)
}

// Drain lets nobody in any more and waits until every ask that was accepted has been answered and
// everything queued has been written, or ctx ends.
func (r *Remote) Drain(ctx context.Context) error {
	r.draining.Store(true)
	for {
		r.mu.Lock()
		changed := r.changed
		conns := r.conns()
		r.mu.Unlock()
		open := int64(0)
		for _, c := range conns {
			open += c.open.Load()
		}
		if open == 0 {
			return r.written(ctx, conns)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("remote: drain: %d asks without an answer: %w", open, context.Cause(ctx))
		}
	}
}

// written waits until conns have nothing left to write.
func (r *Remote) written(ctx context.Context, conns []*conn) error {
	for _, c := range conns {
		if !c.connected() {
			continue // a dial may take long and may fail; what waits for it is told
		}
		select {
		case <-c.w.drained():
		case <-ctx.Done():
			return fmt.Errorf("remote: drain: messages for member %s: %w", c.peer.Member.ID, context.Cause(ctx))
		}
	}
	return nil
}

// conns lists all connections. The caller holds r.mu.
func (r *Remote) conns() []*conn {
	out := slices.Collect(maps.Values(r.incoming))
	for _, ep := range r.endpoints {
		if c := ep.cur.Load(); c != nil && !ep.client {
			out = append(out, c)
		}
	}
	return out
}

// Stop ends all links: peers are told, within a second; what is outstanding fails. It may be called
// any number of times, also before Start. An error names the goroutines that ctx did not wait for.
func (r *Remote) Stop(ctx context.Context) error {
	r.mu.Lock()
	before := r.state
	r.state = isStopped
	r.draining.Store(true)
	if before != isStopped {
		close(r.stopping)
		if r.ticker != nil {
			r.ticker()
		}
		if r.watcher != nil {
			r.watcher()
		}
	}
	conns := r.conns()
	eps := slices.Collect(maps.Values(r.endpoints))
	slices.SortFunc(eps, byMember)
	l, accepter := r.listener, r.accepter
	r.broadcast()
	r.mu.Unlock()
	if before == isStarted {
		r.goodbye(ctx, conns)
	}
	for _, ep := range eps {
		ep.close(errStopping)
	}
	for _, c := range conns {
		c.end(errStopping)
	}
	if accepter != nil {
		accepter.stop()
	} else if l != nil && before != isStopped {
		_ = l.Close() // it never served
	}
	r.cancel(errStopping)
	if err := r.group.Wait(ctx); err != nil {
		return fmt.Errorf("remote: stop: %w", err)
	}
	return nil
}

// goodbye tells peers of the end, behind everything that is queued. A peer that has read it ends the
// link, which proves that it has read all the rest; it has a second for that.
func (r *Remote) goodbye(ctx context.Context, conns []*conn) {
	over := make(chan struct{})
	stop := r.clock.AfterFunc(stopGrace, func() { close(over) })
	defer stop()
	for _, c := range conns {
		c.sendReceipt(true)
		c.w.goodbye(fmt.Errorf("remote: send to member %s: %w", c.peer.Member.ID, errStopping), false)
	}
	for _, c := range conns {
		if !c.connected() {
			continue
		}
		select {
		case <-c.done:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// poke wakes whoever waits for a change of links.
func (r *Remote) poke() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broadcast()
}

// broadcast wakes whoever waits for a change. The caller holds r.mu.
func (r *Remote) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// scheduleTick counts quarters of Limits.AskAge and gives up asks that are older than one. The caller
// holds r.mu.
func (r *Remote) scheduleTick() {
	if r.state != isStarted {
		return
	}
	r.ticker = r.clock.AfterFunc(r.limits.AskAge/askTicks, func() {
		tick := r.tick.Add(1)
		r.mu.Lock()
		conns := r.conns()
		r.scheduleTick()
		r.mu.Unlock()
		for _, c := range conns {
			c.expire(tick)
		}
	})
}

// watchClients ends, a few times in Limits.ClientStall, the links of clients that read nothing for that
// long. It stops when there are no clients and nothing is held for any. The caller holds r.mu.
func (r *Remote) watchClients() {
	if r.watcher != nil || r.state != isStarted {
		return
	}
	r.watcher = r.clock.AfterFunc(r.limits.ClientStall/4, func() {
		now := r.clock.Now()
		held := r.clients.Sweep(now, r.limits.AskAge)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watcher = nil
		for _, c := range r.incoming {
			if !c.peer.Client {
				continue
			}
			held = true
			if since, _ := c.w.unread(); !since.IsZero() && now.Sub(since) >= r.limits.ClientStall && c.w.shed() {
				r.group.Go("remote: end", func() { c.end(errStalled) })
			}
		}
		if held {
			r.watchClients()
		}
	})
}

// relieve ends links of clients, those first that have read nothing for longest, until what is held for
// clients is within its bound or no answer waits.
func (r *Remote) relieve() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.clients.Over() {
		var slowest *conn
		var first time.Time
		for _, c := range r.incoming {
			since, held := c.w.unread()
			if held > 0 && (slowest == nil || since.Before(first)) {
				slowest, first = c, since
			}
		}
		if slowest == nil {
			return
		}
		if slowest.w.shed() {
			r.group.Go("remote: end", func() { slowest.end(errSlowest) })
		}
	}
}

// chance is a source for one endpoint, from the component's own: which of several links is lost first has no part
// in when each is dialled again.
func (r *Remote) chance() *rand.Rand {
	r.randMu.Lock()
	defer r.randMu.Unlock()
	return rand.New(rand.NewPCG(r.cfg.Env.Rand.Uint64(), r.cfg.Env.Rand.Uint64()))
}
