package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
)

// Bounds of a Lookup.
const (
	// MaxFlights is how many identities may be resolved at one moment on one node; more are refused
	// with core.ErrOverloaded.
	MaxFlights = 10_000

	stopsAtOnce = 8                     // activations that Stop ends at one moment
	soon        = 10 * time.Millisecond // RetryAfter of what is under way elsewhere
)

// The types of the messages between the Lookups of one hub.
const (
	OrderType = "granary.memory.Order" // the token's text, then the identity's
	DoneType  = "granary.memory.Done"  // empty: the directory has the placement
)

// Lookup is one node's part of a hub's directory. It places by the kind's strategy among the members
// that host the kind; a placement stays until its activation ends or its member leaves the view.
// Safe for concurrent use. It offers core.ReleaseListener and keeps Level 1.
type Lookup struct {
	dir  *directory
	host core.Host
	self core.MemberID
	env  core.Env
	view atomic.Pointer[core.View]

	ctx    context.Context // of attempts, which outlive their callers
	cancel context.CancelFunc

	mu         sync.Mutex // guards what follows
	state      state
	flights    map[core.Identity]*flight
	performing sync.WaitGroup // of Activate; Add only while state is member
	attempts   sync.WaitGroup // of flights and of stops after a Reshape; likewise
	stopped    chan struct{}  // closed when the first Stop is over
}

// flight is one attempt that callers share.
type flight struct {
	done chan struct{}
	p    core.Placement
	err  error
}

func newLookup(d *directory) *Lookup {
	return &Lookup{dir: d, flights: map[core.Identity]*flight{}, stopped: make(chan struct{})}
}

// Start enlists the member of host in the hub's directory. core.ErrConflict: another lookup serves a
// member of that ID there.
func (l *Lookup) Start(ctx context.Context, host core.Host, env core.Env) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.state {
	case idle:
	case left:
		return fmt.Errorf("memory: start: %w", core.ErrStopped)
	default:
		return fmt.Errorf("memory: start: called a second time: %w", core.ErrInvalid)
	}
	self := host.Self().ID
	if err := l.dir.enlist(self, l, env.Clock.Now()); err != nil {
		return fmt.Errorf("memory: start: %w", err)
	}
	l.host, l.self, l.env, l.state = host, self, env, member
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return nil
}

// Resolve answers from the directory, or has an activation made on the member that the kind's
// strategy picks.
func (l *Lookup) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	f, err := l.join(id)
	if err != nil {
		return core.Placement{}, refused(id, err)
	}
	if f == nil {
		if e, known := l.dir.find(id); known && e.placed() {
			return core.Placement{PID: e.pid(), Token: e.token}, nil
		}
		if f, err = l.launch(ctx, id); err != nil {
			return core.Placement{}, refused(id, err)
		}
	}
	select {
	case <-f.done:
		return f.p, f.err
	case <-ctx.Done():
		return core.Placement{}, core.WithDelivery(fmt.Errorf("memory: resolve %s: %w", id, ctx.Err()), core.Undelivered)
	}
}

// join is the flight for id that is under way, nil if there is none.
func (l *Lookup) join(id core.Identity) (*flight, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != member {
		return nil, core.ErrStopped
	}
	return l.flights[id], nil
}

// launch starts a flight, unless one was started meanwhile. It has the values of ctx, not its end.
func (l *Lookup) launch(ctx context.Context, id core.Identity) (*flight, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch f, flying := l.flights[id]; {
	case l.state != member:
		return nil, core.ErrStopped
	case flying:
		return f, nil
	case len(l.flights) >= MaxFlights:
		return nil, core.Retry(fmt.Errorf("%d identities are being resolved: %w", MaxFlights, core.ErrOverloaded), soon)
	}
	f := &flight{done: make(chan struct{})}
	l.flights[id] = f
	l.attempts.Add(1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(l.ctx, cancel)
	l.env.Go("memory.resolve", func() {
		defer l.attempts.Done()
		defer cancel()
		defer unhook()
		p, err := l.attempt(ctx, id)
		if err != nil {
			err = refused(id, err)
		}
		f.p, f.err = p, err
		l.mu.Lock()
		delete(l.flights, id)
		l.mu.Unlock()
		close(f.done)
	})
	return f, nil
}

// attempt makes or finds the order for id, has it carried out, and looks what came of it.
func (l *Lookup) attempt(ctx context.Context, id core.Identity) (core.Placement, error) {
	view := l.view.Load()
	if view == nil {
		return core.Placement{}, core.Retry(fmt.Errorf("there is no view yet: %w", core.ErrBusy), soon)
	}
	e, err := l.order(view, id)
	if err != nil {
		return core.Placement{}, err
	}
	if !e.placed() {
		err = l.send(ctx, view, id, e)
		l.dir.cancel(id, e.token) // whatever happened: if nobody carried it out, it is off
	}
	now, known := l.dir.find(id)
	switch {
	case known && now.placed():
		return core.Placement{PID: now.pid(), Token: now.token}, nil
	case err != nil:
		return core.Placement{}, err
	}
	return core.Placement{}, core.Retry(fmt.Errorf("it is just starting or ending: %w", core.ErrBusy), soon)
}

// order is the present order for id, or one for the member that the kind's strategy picks.
func (l *Lookup) order(view *core.View, id core.Identity) (entry, error) {
	if e, known := l.dir.find(id); known {
		return e, nil
	}
	m, ok := l.host.Strategy(id.Kind).Pick(id, view.Hosting(id.Kind))
	if !ok {
		return entry{}, fmt.Errorf("no member is up and hosts kind %q: %w", id.Kind, core.ErrNoMember)
	}
	return l.dir.order(id, m.ID)
}

// send has the host of e carry it out.
func (l *Lookup) send(ctx context.Context, view *core.View, id core.Identity, e entry) error {
	var err error
	if e.at.id == l.self {
		err = l.perform(ctx, id, e.token)
	} else {
		to, listed := view.Member(e.at.id)
		if !listed {
			return fmt.Errorf("it is with member %s, which is not in the view here: %w", e.at.id, core.ErrNotOwner)
		}
		_, err = l.host.Call(ctx, to, core.Message{Type: OrderType, Data: order{e.token, id}.encode()})
	}
	switch {
	case ctx.Err() != nil:
		return core.ErrStopped
	case errors.Is(err, core.ErrStopped): // the host, not this lookup
		return core.Retry(fmt.Errorf("member %s is stopping: %w", e.at.id, core.ErrBusy), soon)
	}
	return err
}

// perform carries an order out on this node.
func (l *Lookup) perform(ctx context.Context, id core.Identity, t core.Token) error {
	l.mu.Lock()
	if l.state != member {
		l.mu.Unlock()
		return core.ErrStopped
	}
	l.performing.Add(1)
	l.mu.Unlock()
	defer l.performing.Done()
	if placed, err := l.dir.begin(id, t, l); placed || err != nil {
		return err
	}
	p, err := l.host.Activate(ctx, id, t)
	if l.dir.finish(id, t, p, err) {
		l.settle(ctx, id, t)
	}
	if errors.Is(err, core.ErrConflict) || errors.Is(err, core.ErrFenced) {
		return nil // the running one was adopted
	}
	return err
}

// settle stops what a call of Activate that ended in doubt may have left behind.
func (l *Lookup) settle(ctx context.Context, id core.Identity, t core.Token) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := l.host.Deactivate(ctx, id, t, core.StopRequested); err == nil {
		l.dir.released(core.Activation{Identity: id, Placement: core.Placement{PID: core.PID{Member: l.self}, Token: t}})
	}
}

// refused makes err one that Resolve may return.
func refused(id core.Identity, err error) error {
	allowed := []error{core.ErrNoMember, core.ErrNoKind, core.ErrBusy, core.ErrOverloaded,
		core.ErrNotOwner, core.ErrUnreachable, core.ErrStopped}
	if !slices.ContainsFunc(allowed, func(sentinel error) bool { return errors.Is(err, sentinel) }) {
		err = fmt.Errorf("%w: %w", core.ErrUnreachable, err)
	}
	return core.WithDelivery(fmt.Errorf("memory: resolve %s: %w", id, err), core.Undelivered)
}

// Forget has the next Resolve find out whether stale lives.
func (l *Lookup) Forget(id core.Identity, stale core.PID) { l.dir.suspect(id, stale) }

// Handle carries out an order of another node.
func (l *Lookup) Handle(ctx context.Context, from core.Member, m core.Message) (core.Message, error) {
	if m.Type != OrderType {
		return core.Message{}, undelivered("memory: handle: %.80q from %s is no order: %w", m.Type, from.ID, core.ErrInvalid)
	}
	o, err := parseOrder(m.Data)
	if err != nil {
		return core.Message{}, undelivered("memory: handle: %w", err)
	}
	if err := l.perform(ctx, o.id, o.token); err != nil {
		return core.Message{}, undelivered("memory: handle: %w", err)
	}
	return core.Message{Type: DoneType}, nil
}

func undelivered(format string, args ...any) error {
	return core.WithDelivery(fmt.Errorf(format, args...), core.Undelivered)
}

// order is what a node asks of the host of id.
type order struct {
	token core.Token
	id    core.Identity
}

func (o order) encode() []byte { return []byte(o.token.String() + o.id.String()) }

func parseOrder(data []byte) (order, error) {
	const tokenLen = 32
	if len(data) < tokenLen {
		return order{}, fmt.Errorf("%d bytes are no order: %w", len(data), core.ErrInvalid)
	}
	t, err := parseToken(string(data[:tokenLen]))
	if err != nil {
		return order{}, err
	}
	id, err := core.ParseIdentity(string(data[tokenLen:]))
	if err != nil {
		return order{}, err
	}
	return order{t, id}, nil
}

func parseToken(text string) (core.Token, error) {
	epoch, err1 := strconv.ParseUint(text[:16], 16, 64)
	seq, err2 := strconv.ParseUint(text[16:], 16, 64)
	if err1 != nil || err2 != nil || strings.ContainsAny(text, "+-_") {
		return core.Token{}, fmt.Errorf("%q is no token: %w", text, core.ErrInvalid)
	}
	return core.Token{Epoch: epoch, Seq: seq}, nil
}

// Released takes an ended activation out of the directory.
func (l *Lookup) Released(a core.Activation, _ core.StopReason) { l.dir.released(a) }

// Reshape forgets what lived on members that are gone, and stops what this member hosts no more.
func (l *Lookup) Reshape(t core.Topology) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != member {
		return fmt.Errorf("memory: reshape: %w", core.ErrStopped)
	}
	l.view.Store(t.View)
	for _, m := range t.Left {
		l.dir.drop(m.ID)
	}
	self, changed := core.Members(t.Changed).Get(l.self)
	if changed && self.Status == core.Up {
		l.attempts.Add(1)
		l.env.Go("memory.stop", func() {
			defer l.attempts.Done()
			_ = l.deactivate(l.ctx, core.StopMoved, func(id core.Identity) bool { return !self.Hosts(id.Kind) }) // else Stop does it
		})
	}
	return nil
}

// deactivate stops the activations of this node that which accepts, a few at a time.
func (l *Lookup) deactivate(ctx context.Context, why core.StopReason, which func(core.Identity) bool) error {
	var all []core.Activation
	for a := range l.host.Activations() {
		if which(a.Identity) {
			all = append(all, a)
		}
	}
	var next atomic.Int64
	errs := make(chan error, stopsAtOnce)
	for range stopsAtOnce {
		l.env.Go("memory.stop", func() {
			var failed error
			for i := next.Add(1) - 1; int(i) < len(all); i = next.Add(1) - 1 {
				a := all[i]
				if err := l.host.Deactivate(ctx, a.Identity, a.Token, why); err != nil {
					failed = err
					continue
				}
				l.dir.released(a)
			}
			errs <- failed
		})
	}
	var failed error
	for range stopsAtOnce {
		failed = errors.Join(failed, <-errs)
	}
	return failed
}

// Stop ends the activations of this node, so that others may have them, and leaves the directory.
func (l *Lookup) Stop(ctx context.Context) error {
	l.mu.Lock()
	was := l.state
	l.state = left
	l.mu.Unlock()
	switch was {
	case idle:
		close(l.stopped)
		return nil
	case left:
		select {
		case <-l.stopped:
		case <-ctx.Done():
		}
		return nil
	}
	defer close(l.stopped)
	l.cancel()
	joined := make(chan struct{})
	l.env.Go("memory.join", func() {
		l.performing.Wait()
		l.attempts.Wait()
		close(joined)
	})
	select {
	case <-joined:
	case <-ctx.Done():
	}
	if err := l.deactivate(ctx, core.StopLeaving, func(core.Identity) bool { return true }); err != nil {
		return fmt.Errorf("memory: stop: %w", err)
	}
	l.dir.delist(l.self)
	return nil
}

var (
	_ core.Lookup          = (*Lookup)(nil)
	_ core.ReleaseListener = (*Lookup)(nil)
)
