package actor

import (
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/group"
	"github.com/granary-go/granary/engine/internal/slab"
)

// Config is what a System is made of. The zero value works.
type Config struct {
	Member   core.MemberID               // of this start of the process; empty: drawn at random
	Address  string                      // that PIDs carry; empty: "local"
	Logger   *slog.Logger                // nil: slog.Default()
	Clock    core.Clock                  // nil: core.SystemClock
	Observer Observer                    // what telemetry wants to see
	Go       func(name string, f func()) // starts goroutines; nil: the go statement. The system joins them
}

// System is a set of actors of one process, with their names and what they share. It is safe for
// concurrent use.
type System struct {
	member   core.MemberID
	address  string
	nonce    string // of the names of actors without one
	log      *slog.Logger
	clock    core.Clock
	observer Observer

	registry   registry
	dispatch   dispatcher
	goroutines *group.Group
	answers    slab.Slab[answer]
	chunks     chunkPool
	envelopes  sync.Pool // of *Envelope, lent to gates
	waiters    sync.Pool // of *waiter
	events     EventStream
	letters    throttle
	remote     atomic.Pointer[func(core.PID) (Process, error)]

	names    atomic.Uint64
	live     atomic.Int64 // actors that have not ended
	stopping atomic.Bool
	empty    chan struct{} // closed when live falls to zero while stopping
	emptied  sync.Once
}

// New makes a System. It starts nothing.
func New(cfg Config) (*System, error) {
	s := &System{member: cfg.Member, address: cfg.Address, log: cfg.Logger, clock: cfg.Clock, observer: cfg.Observer, empty: make(chan struct{})}
	if s.member == "" {
		s.member = core.MemberID(rand.Text())
	}
	if s.address == "" {
		s.address = "local"
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.clock == nil {
		s.clock = core.SystemClock{}
	}
	if strings.Contains(s.address, "/") {
		return nil, fmt.Errorf("actor: address %q has a slash: %w", s.address, core.ErrInvalid)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.member))
	s.nonce = strconv.FormatUint(h.Sum64()>>24, 36) + "-" // 40 bits: starts of one address are told apart
	s.registry.seed = maphash.MakeSeed()
	s.goroutines = group.With(cfg.Go)
	s.dispatch.init(s.goroutines)
	s.events.sys = s
	return s, nil
}

// Member is the ID of this start of the process.
func (s *System) Member() core.MemberID { return s.member }

// Address is what the PIDs of this system carry.
func (s *System) Address() string { return s.address }

// Events is the stream of events: dead letters, and whatever is published.
func (s *System) Events() *EventStream { return &s.events }

// Spawn starts an actor under a name of the system's making.
func (s *System) Spawn(p *Props) (*Ref, error) {
	if err := p.check(true); err != nil {
		return nil, err
	}
	return s.spawn(s.name(""), p, nil, nil)
}

// SpawnNamed starts an actor under this name: core.ErrConflict if it is taken, core.ErrInvalid if it is
// empty.
func (s *System) SpawnNamed(name string, p *Props) (*Ref, error) {
	if err := p.check(true); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("actor: spawn: the name is empty: %w", core.ErrInvalid)
	}
	return s.spawn(name, p, nil, nil)
}

// SpawnActor starts a as an actor under a name of the system's making that begins with prefix. A
// restart makes a new instance where p.New is set, and else goes on with a.
func (s *System) SpawnActor(prefix string, p *Props, a Actor) (*Ref, error) {
	if err := p.check(false); err != nil {
		return nil, err
	}
	if a == nil {
		return nil, fmt.Errorf("actor: spawn: the actor is nil: %w", core.ErrInvalid)
	}
	return s.spawn(s.name(prefix), p, a, nil)
}

func (s *System) name(prefix string) string {
	var b [64]byte
	text := append(append(b[:0], prefix...), s.nonce...)
	return string(strconv.AppendUint(text, s.names.Add(1), 36))
}

// spawn enters the actor under its name and gives it its first turn. It is complete before anybody can
// find it.
func (s *System) spawn(name string, p *Props, a Actor, parent *cell) (*Ref, error) {
	c := &cell{props: p, actor: a, parent: parent}
	c.ref.sys, c.ref.id = s, name
	c.ref.cell.Store(c)
	c.ctx.cell = c
	c.box.init(&p.Mailbox)
	c.box.scheduled = true
	s.live.Add(1)
	if s.stopping.Load() {
		s.gone()
		return nil, errSystemStopped
	}
	if !s.registry.add(c) {
		s.gone()
		return nil, fmt.Errorf("actor: spawn %q: the name is taken: %w", name, core.ErrConflict)
	}
	if f := s.observer.Spawned; f != nil {
		s.protect(&c.ref, "Observer.Spawned", func() { f(&c.ref) })
	}
	s.dispatch.schedule(c, nil)
	if s.stopping.Load() { // Stop may have looked before the name was entered
		c.askStop()
	}
	return &c.ref, nil
}

// ended is called once an actor.
func (s *System) ended(c *cell) {
	if f := s.observer.Stopped; f != nil {
		s.protect(&c.ref, "Observer.Stopped", func() { f(&c.ref) })
	}
	s.gone()
}

func (s *System) gone() {
	if s.live.Add(-1) == 0 && s.stopping.Load() {
		s.emptied.Do(func() { close(s.empty) })
	}
}

// Len is the number of actors that have not ended.
func (s *System) Len() int { return int(s.live.Load()) }

// Register enters a raw process under a name: core.ErrConflict if it is taken. unregister takes it back
// and may be called more than once.
func (s *System) Register(name string, p Process) (unregister func(), err error) {
	if name == "" || p == nil {
		return nil, fmt.Errorf("actor: register %q: a name and a process are needed: %w", name, core.ErrInvalid)
	}
	if !s.registry.addProcess(name, p) {
		return nil, fmt.Errorf("actor: register %q: the name is taken: %w", name, core.ErrConflict)
	}
	return sync.OnceFunc(func() { s.registry.removeProcess(name) }), nil
}

// SetRemote says who carries messages to the PIDs of other members. It is set once, before traffic.
func (s *System) SetRemote(find func(pid core.PID) (Process, error)) { s.remote.Store(&find) }

// carrier finds who carries messages to pid.
func (s *System) carrier(pid core.PID) (Process, error) {
	find := s.remote.Load()
	if find == nil {
		err := fmt.Errorf("actor: send to %s: this system has no network: %w", pid, core.ErrUnreachable)
		return nil, core.WithDelivery(err, core.Undelivered)
	}
	return (*find)(pid)
}

// Ref is a reference to pid. It is never nil; what it refers to is looked up when it is used.
func (s *System) Ref(pid core.PID) *Ref {
	r := &Ref{sys: s, id: pid.ID}
	if !s.owns(pid) {
		r.foreign = &foreign{pid: pid}
	}
	return r
}

// owns reports whether pid is of this start of this process.
func (s *System) owns(pid core.PID) bool {
	if pid.Member != "" {
		return pid.Member == s.member
	}
	return pid.Address == s.address
}

// Deliver hands a message from the network to a local actor or process, under the rules of
// Process.Send. It never relays and never blocks: a PID of another member, or of another start of this
// one, is a dead letter.
func (s *System) Deliver(target core.PID, e Envelope) error {
	if target.Member != "" && target.Member != s.member {
		return s.deadLetter(target, &e)
	}
	c, p := s.registry.get(target.ID)
	switch {
	case p != nil:
		return p.Send(target, e)
	case c == nil:
		return s.deadLetter(target, &e)
	case c.post(&e, nil):
		return nil
	}
	return c.sendSlowly(e, nil, patience{})
}

// DeliverSystem hands a message of the runtime to a local actor or process, under the rules of
// Process.SendSystem. A Watch that finds nobody is answered with a Terminated.
func (s *System) DeliverSystem(target core.PID, m SystemMessage) error {
	if target.Member == "" || target.Member == s.member {
		c, p := s.registry.get(target.ID)
		if p != nil {
			return p.SendSystem(target, m)
		}
		if c != nil && c.system(m) {
			return nil
		}
	}
	if w, ok := m.(*Watch); ok && w.Watcher != nil {
		s.tellTerminated(w.Watcher, &Terminated{Who: target, Why: TerminatedNotFound})
		return nil
	}
	return &DeadLetterError{Target: target}
}

// system takes a message of the runtime. False: the actor has ended.
func (c *cell) system(m SystemMessage) bool {
	switch m := m.(type) {
	case *Stop:
		return c.askStop()
	case *Poison: // a mailbox that is closed is stopping anyway
		return c.accepted(c.box.seal(&c.ref.sys.chunks)) || !c.box.marked(dead)
	case *Watch:
		return c.watched(m.Watcher)
	case *Unwatch:
		return c.unwatched(m.Watcher)
	case *Terminated:
		return c.postUrgent(item{kind: itemEnded, env: Envelope{Message: m}}) || !c.box.marked(dead)
	}
	return true // there are no others
}

// Nudge hands msg to the actor before all queued user messages and past the bound: for the engine's own
// checks and timers. A DeadLetterError says that the actor is stopping or gone.
func (s *System) Nudge(to *Ref, msg any) error {
	if c := to.local(s); c != nil && c.postUrgent(item{kind: itemNudge, env: Envelope{Message: msg}}) {
		return nil
	}
	return &DeadLetterError{Target: to.PID()}
}

// rejected reports a message that was not taken.
func (s *System) rejected(to *Ref, err error) {
	if f := s.observer.Rejected; f != nil {
		s.protect(to, "Observer.Rejected", func() { f(to.PID(), err) })
	}
}

// panicked reports a panic of user code in an actor.
func (s *System) panicked(who *Ref, err *PanicError) {
	s.log.Error("actor: panic", "actor", who.id, "panic", fmt.Sprint(err.Value), "stack", string(err.Stack))
	if f := s.observer.Panicked; f != nil {
		s.protect(who, "Observer.Panicked", func() { f(who, err) })
	}
}

// protect calls user code that is not an actor's; its panic is logged and returned.
func (s *System) protect(who *Ref, what string, f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("actor: panic", "in", what, "actor", who.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = core.WithDelivery(&PanicError{Value: v}, core.Undelivered)
		}
	}()
	f()
	return nil
}

// Observer sees what only the runtime knows. A nil field costs one comparison. The functions are
// called on the goroutine where the thing happened, must not block and must be safe for concurrent use;
// a panic in one is caught and logged. A name of an actor is never a good metric label.
type Observer struct {
	// MailboxWait is told, once a turn, how long the message that woke the actor had waited.
	MailboxWait func(to *Ref, waited time.Duration)

	// Rejected is told of each message that was not taken: a full mailbox, Context.Refuse.
	Rejected func(to core.PID, err error)

	// DeadLetter is told of each message that found no actor.
	DeadLetter func(d DeadLetter)

	// Panicked is told of each panic of user code in an actor.
	Panicked func(who *Ref, err *PanicError)

	// Restarted is told when a new incarnation begins.
	Restarted func(who *Ref)

	// Spawned and Stopped are told of the two ends of an actor's life.
	Spawned func(who *Ref)
	Stopped func(who *Ref)
}
