package disthash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
)

// Lookup places identities by rendezvous hashing. One instance serves one node, from its Start to
// its Stop. It is safe for concurrent use.
type Lookup struct {
	cfg   Config
	state atomic.Pointer[state] // nil before the first Reshape

	// Set by Start, before anything else is called.
	host core.Host
	env  core.Env
	self core.MemberID

	mu       sync.Mutex // guards what follows, and who writes state
	stage    stage
	flights  map[core.Identity]*flight
	present  *handover     // of the installed view
	stopped  chan struct{} // closed when the first Stop is through
	life     func() (context.Context, context.CancelCauseFunc)
	group    sync.WaitGroup
	stopping atomic.Bool  // nothing is activated any more
	active   atomic.Int64 // calls of activate that are under way
}

type stage uint8

const (
	made stage = iota
	started
	ended
)

// What callers are told to wait before they try again.
const (
	retryHeld   = 5 * time.Millisecond
	retryNoView = 10 * time.Millisecond
	retryBusy   = 20 * time.Millisecond
)

// New checks cfg and joins all complaints; each wraps core.ErrInvalid. It starts nothing.
func New(cfg Config) (*Lookup, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Lookup{cfg: cfg, flights: map[core.Identity]*flight{}, stopped: make(chan struct{})}, nil
}

// Requires asks for a provider that writes rows as Proto.Actor does, under Config.Compat; else for
// nothing.
func (l *Lookup) Requires() core.Promises { return core.Promises{Compat: l.cfg.Compat} }

// Start keeps host and env. Of ctx it keeps the values, not the end.
func (l *Lookup) Start(ctx context.Context, host core.Host, env core.Env) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.stage {
	case started:
		return fmt.Errorf("disthash: start is called once: %w", core.ErrInvalid)
	case ended:
		return errStopped("start")
	}
	l.stage = started
	l.host, l.env, l.self = host, env, host.Self().ID
	ctx = context.WithoutCancel(ctx)
	l.life = func() (context.Context, context.CancelCauseFunc) { return context.WithCancelCause(ctx) }
	return nil
}

// Owner is the member that owns id by the installed view; false if none hosts the kind, or before
// the first view. It allocates nothing.
func (l *Lookup) Owner(id core.Identity) (core.Member, bool) {
	if s := l.state.Load(); s != nil {
		if m, ok := s.now.owner(id); ok {
			return *m, true
		}
	}
	return core.Member{}, false
}

// Held is true while another member may still run id, and as long as id is not to run here at all:
// not owned by the installed view, before the first one, and from Stop on. Asked under the lock
// under which activations are made, it so keeps what was lost from being activated behind the back
// of Reshape.
func (l *Lookup) Held(id core.Identity) bool {
	s := l.state.Load()
	return s == nil || l.stopping.Load() || !s.now.owns(l.self, id) || s.held(id)
}

// Forget does nothing: there is no directory to drop stale from.
func (l *Lookup) Forget(core.Identity, core.PID) {}

// Resolve finds the activation of id, or has its owner make one.
func (l *Lookup) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	if err := id.Check(); err != nil {
		return core.Placement{}, core.WithDelivery(fmt.Errorf("disthash: resolve: %w", err), core.Undelivered)
	}
	f, err := l.join(ctx, id)
	if err != nil {
		return core.Placement{}, err
	}
	select {
	case <-f.done:
		return f.placement, f.err
	default:
	}
	select {
	case <-f.done:
		return f.placement, f.err
	case <-ctx.Done():
		return core.Placement{}, core.WithDelivery(fmt.Errorf("disthash: resolve %q: %w", id, ctx.Err()), core.Undelivered)
	}
}

// flight is one attempt to place an identity, which all callers at that time share.
type flight struct {
	done      chan struct{}
	owner     core.MemberID // who is asked; empty: nobody
	cancel    context.CancelCauseFunc
	placement core.Placement
	err       error
}

// join finds the attempt that is under way or begins one. The attempt is not the caller's: it goes on
// when that gives up, until it is through, overtaken by a view, or ended by Stop.
func (l *Lookup) join(ctx context.Context, id core.Identity) (*flight, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage != started || l.stopping.Load() {
		return nil, errStopped("resolve")
	}
	if f := l.flights[id]; f != nil {
		return f, nil
	}
	s := l.state.Load()
	if s == nil {
		return nil, errNoView(id)
	}
	owner, ok := s.now.owner(id)
	switch {
	case !ok:
		return nil, errNoHost(id)
	case owner.ID == l.self && s.held(id):
		return nil, errHeld(id)
	}
	f := &flight{done: make(chan struct{}), owner: owner.ID}
	ctx, f.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.flights[id] = f
	l.spawn("disthash.resolve", func() {
		defer f.cancel(nil)
		p, err := l.place(ctx, s, *owner, id)
		l.mu.Lock()
		delete(l.flights, id)
		l.mu.Unlock()
		f.placement, f.err = p, undelivered(err)
		close(f.done)
	})
	return f, nil
}

// spawn runs f on a goroutine that Stop joins. l.mu is held, so that Stop is either before it or
// waits for it.
func (l *Lookup) spawn(name string, f func()) {
	l.group.Add(1)
	l.env.Go(name, func() {
		defer l.group.Done()
		f()
	})
}

// place activates id here or asks its owner.
func (l *Lookup) place(ctx context.Context, s *state, owner core.Member, id core.Identity) (core.Placement, error) {
	if owner.ID == l.self {
		return l.activate(ctx, id)
	}
	p, err := l.ask(ctx, s, owner, id)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // of Reshape or Stop
	}
	return p, refusal(err)
}

// activate runs id here, if it is to run here.
func (l *Lookup) activate(ctx context.Context, id core.Identity) (core.Placement, error) {
	l.active.Add(1) // before Held looks whether Stop was called: drain waits for it
	defer l.active.Add(-1)
	if l.Held(id) {
		return core.Placement{}, errHeld(id)
	}
	p, err := l.host.Activate(ctx, id, core.Token{})
	if err != nil {
		return core.Placement{}, fmt.Errorf("disthash: activate %q: %w", id, err)
	}
	if !l.stopping.Load() && l.state.Load().now.owns(l.self, id) {
		return p, nil
	}
	// The view moved meanwhile. Whoever goes over what runs here may have been earlier.
	ctx, done := l.patient(ctx, firstPatience)
	defer done()
	if err := l.host.Deactivate(ctx, id, p.Token, core.StopMoved); err != nil {
		l.env.Logger.LogAttrs(ctx, levelDebug, "an activation that moved ends later", errAttr(err))
	}
	return core.Placement{}, fmt.Errorf("disthash: activate %q: the view moved meanwhile: %w", id, core.ErrNotOwner)
}

// Reshape installs the view of t. What this member owns no more is stopped, and whom it may have
// inherited from is asked, behind its back.
func (l *Lookup) Reshape(t core.Topology) error {
	if t.View == nil {
		return fmt.Errorf("disthash: reshape: a topology without a view: %w", core.ErrInvalid)
	}
	next := newTable(t.View, l.cfg.Compat)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage != started || l.stopping.Load() {
		return errStopped("reshape")
	}
	s := l.state.Load().next(l.self, next, l.cfg.Compat, l.env.Clock.Now(), l.cfg.HandoverTimeout)
	l.state.Store(s)
	for id, f := range l.flights {
		if owner, ok := next.owner(id); f.owner != l.self && (!ok || owner.ID != f.owner) {
			f.cancel(errMoved)
		}
	}
	l.present.overtake()
	l.present = l.begin(s)
	return nil
}

// errMoved ends attempts at members that are not to be asked any more.
var errMoved = fmt.Errorf("disthash: the view moved meanwhile: %w", core.ErrNotOwner)

// Stop stops what still runs here, refuses from then on, and joins the goroutines.
func (l *Lookup) Stop(ctx context.Context) error {
	l.mu.Lock()
	first := !l.stopping.Swap(true)
	running := l.stage == started
	l.stage = ended
	for _, f := range l.flights {
		f.cancel(errStopped("resolve"))
	}
	var last *handover
	if first && running {
		l.present.overtake()
		last = l.newHandover(nil)
		l.present = last
	}
	l.mu.Unlock()

	switch {
	case !first:
		select {
		case <-l.stopped:
			return nil
		default:
		}
		select {
		case <-l.stopped:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("disthash: stop: another call is at it: %w", ctx.Err())
		}
	case !running:
		close(l.stopped)
		return nil
	}
	defer close(l.stopped)
	err := l.drain(ctx, last)
	l.group.Wait()
	if err != nil {
		return fmt.Errorf("disthash: stop: %w", err)
	}
	return nil
}

// undelivered marks what Resolve and Handle return: no handler has run.
func undelivered(err error) error { return core.WithDelivery(err, core.Undelivered) }

func errStopped(operation string) error {
	return undelivered(fmt.Errorf("disthash: %s after stop: %w", operation, core.ErrStopped))
}

func errNoView(id core.Identity) error {
	return undelivered(core.Retry(fmt.Errorf("disthash: place %q: no view is installed yet: %w", id, core.ErrBusy), retryNoView))
}

func errNoHost(id core.Identity) error {
	return undelivered(fmt.Errorf("disthash: place %q: no member of the view hosts the kind: %w", id, core.ErrNoMember))
}

func errHeld(id core.Identity) error {
	return undelivered(core.Retry(fmt.Errorf("disthash: place %q: it may still run at the owner before: %w", id, core.ErrBusy), retryHeld))
}

// refusals are the errors that Resolve returns.
var refusals = []error{
	core.ErrNoMember, core.ErrNoKind, core.ErrBusy, core.ErrOverloaded, core.ErrNotOwner, core.ErrUnreachable, core.ErrStopped,
}

// refusal makes err one of them. What went wrong on the way to the owner is ErrUnreachable.
func refusal(err error) error {
	if err == nil || slices.ContainsFunc(refusals, func(s error) bool { return errors.Is(err, s) }) {
		return err
	}
	return fmt.Errorf("%w: %w", err, core.ErrUnreachable)
}

var (
	_ core.Lookup   = (*Lookup)(nil)
	_ core.Router   = (*Lookup)(nil)
	_ core.Holder   = (*Lookup)(nil)
	_ core.Requirer = (*Lookup)(nil)
)
