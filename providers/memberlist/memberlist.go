package memberlist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// Provider is membership by gossip. One instance serves one node, from its Join or Watch to its
// Leave. It is safe for concurrent use.
type Provider struct {
	cfg settings

	mu       sync.Mutex
	entered  bool                    // Join or Watch was called
	stopped  bool                    // Leave was called
	session  *session                // from the moment that the port is bound until Leave
	cancel   context.CancelCauseFunc // of the Join that is under way
	entering chan struct{}           // closed when Join or Watch has returned
	done     chan struct{}           // closed when the first Leave is through
}

// New checks cfg and joins all complaints; each wraps core.ErrInvalid. It binds and starts nothing.
func New(cfg Config) (*Provider, error) {
	s, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Provider{cfg: s, entering: make(chan struct{}), done: make(chan struct{})}, nil
}

// Promises is the zero value: gossip agrees on no order of views.
func (p *Provider) Promises() core.Promises { return core.Promises{} }

// RemovalGrace is one probe interval: LAN 1 s, Local 0.2 s, WAN 5 s. The pool has suspected whom it
// reports no more for longer than that; what is left is that the suspect, which hears of its own death
// by gossip, refutes it a moment too late.
func (p *Provider) RemovalGrace() time.Duration {
	switch p.cfg.Preset {
	case Local:
		return 200 * time.Millisecond
	case WAN:
		return 5 * time.Second
	default:
		return time.Second
	}
}

// Addr is the ip:port that other members take as a seed: what was advertised, or bound. It is empty
// before Join or Watch has bound the port, and after Leave.
func (p *Provider) Addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		return ""
	}
	return p.session.address
}

// Join binds the port, enters the pool as self, and reports views until Leave. Without seeds, or
// with none but itself, it is alone for now and returns at once. With seeds it goes on, with
// jittered back-off from 50 ms to 2 s, until one answers or another member finds it; when ctx ends
// before, the error wraps core.ErrUnreachable and what ended ctx, and names the seeds.
//
// It sets self.Joined, where that is zero, to the present time in Unix milliseconds. Reports begin
// when the pool was entered.
func (p *Provider) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	now := uint64(env.Clock.Now().UnixMilli())
	self.Kinds = slices.Compact(slices.Sorted(slices.Values(self.Kinds)))
	if self.Joined == 0 {
		self.Joined = now
	}
	own := row{Member: self, revision: 1, claim: now}
	if err := own.check(); err != nil {
		return err
	}
	return p.enter(ctx, env, own, false, report)
}

// Watch enters the pool as a client: it reports views as Join does, and is in no view. It takes at
// least one seed.
func (p *Provider) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	id := fmt.Sprintf("client-%016x%016x", env.Rand.Uint64(), env.Rand.Uint64())
	return p.enter(ctx, env, row{Member: core.Member{ID: core.MemberID(id)}, revision: 1}, true, report)
}

// enter is Join and Watch.
func (p *Provider) enter(ctx context.Context, env core.Env, own row, client bool, report func(*core.View)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.mu.Lock()
	switch {
	case p.stopped:
		p.mu.Unlock()
		return fmt.Errorf("memberlist: join after leave: %w", core.ErrStopped)
	case p.entered:
		p.mu.Unlock()
		return fmt.Errorf("memberlist: join and watch are called once in all: %w", core.ErrInvalid)
	case client && len(p.cfg.Seeds) == 0:
		p.mu.Unlock()
		return fmt.Errorf("memberlist: watch: Config.Seeds is empty, and a client alone has nothing to watch: %w", core.ErrInvalid)
	case ctx.Err() != nil:
		p.mu.Unlock()
		return fmt.Errorf("memberlist: join: %w", ctx.Err())
	}
	p.entered, p.cancel = true, cancel
	p.mu.Unlock()
	defer close(p.entering)

	s, err := open(ctx, p.cfg, env, own, client, report)
	if err != nil {
		return p.failed(nil, err)
	}
	p.mu.Lock()
	p.session = s
	p.mu.Unlock()
	if err := s.join(ctx); err != nil {
		return p.failed(s, err)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped { // Leave waits for entering, and there is a session to close
		return fmt.Errorf("memberlist: join: left meanwhile: %w", core.ErrStopped)
	}
	s.enter()
	s.spawn("memberlist.owner", s.run)
	s.spawn("memberlist.worker", s.serve)
	return nil
}

// failed undoes what enter has begun.
func (p *Provider) failed(s *session, err error) error {
	p.mu.Lock()
	p.session = nil
	stopped := p.stopped
	p.mu.Unlock()
	if s != nil {
		if !errors.Is(err, core.ErrConflict) {
			s.retract()
		}
		s.close()
	}
	if stopped {
		err = core.ErrStopped
	}
	return fmt.Errorf("memberlist: join: %w", err)
}

// Update replaces the own row and tells the others at once; it does not wait until they have heard.
// ID and Address must be those of Join: core.ErrInvalid.
func (p *Provider) Update(_ context.Context, self core.Member) error {
	p.mu.Lock()
	s, stopped := p.session, p.stopped
	p.mu.Unlock()
	switch {
	case stopped:
		return fmt.Errorf("memberlist: update after leave: %w", core.ErrStopped)
	case s == nil:
		return fmt.Errorf("memberlist: update: this node has not joined: %w", core.ErrInvalid)
	}
	self.Kinds = slices.Compact(slices.Sorted(slices.Values(self.Kinds)))
	if err := (row{Member: self, revision: 1}).check(); err != nil {
		return err
	}
	if err := s.update(self); err != nil {
		return fmt.Errorf("memberlist: update: %w", err)
	}
	return nil
}

// Leave tells the others, waits at most a second until gossip has carried it, and gives the port
// back. A goroutine of the gossip library may end up to 1 s later. With ctx at its end it leaves all
// the same, without a word where there was no time for one, and returns the error of ctx.
func (p *Provider) Leave(ctx context.Context) error {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return p.await(ctx, p.done)
	}
	p.stopped = true
	entered := p.entered
	if p.cancel != nil {
		p.cancel(core.ErrStopped)
	}
	p.mu.Unlock()
	defer close(p.done)
	if !entered {
		return nil
	}
	<-p.entering // it has been cancelled, and waits for nothing else

	p.mu.Lock()
	s := p.session
	p.session = nil
	p.mu.Unlock()
	if s == nil {
		return nil
	}
	s.halt()
	err := s.farewell(ctx)
	s.close()
	if err != nil {
		return fmt.Errorf("memberlist: leave: the others were not told: %w", err)
	}
	return nil
}

// await waits until another Leave is through.
func (p *Provider) await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("memberlist: leave: another call is at it: %w", ctx.Err())
	}
}

var (
	_ core.Provider = (*Provider)(nil)
	_ core.Patient  = (*Provider)(nil)
)
