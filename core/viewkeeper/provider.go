package viewkeeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// Config says how a Provider keeps its view. TTL and Promises are needed.
type Config struct {
	Name     string        // of the product, for errors
	Promises core.Promises // what the backend's word is worth
	TTL      time.Duration // of leases: renewed each 0.3 of it
}

// Provider is the membership of one node. It offers core.ViewStore, core.MemberLeases and core.Refresher. Safe
// for concurrent use.
type Provider struct {
	cfg     Config
	backend Backend

	base context.Context
	end  context.CancelCauseFunc // of base, by Leave
	all  sync.WaitGroup          // of goroutines, and of a Join in progress

	reading, watching, expiring bool // these fail; of the goroutine of reports
	renewing                    bool // this fails; of the goroutine of renewals

	mu      sync.Mutex // guards what follows
	env     core.Env
	state   state
	self    core.Member
	known   *core.View // the latest that lists self
	evicted bool
	written bool // a row of self may be stored
	leased  bool // a lease of self may have been made
	driven  bool // RenewLease was called: whoever called it renews from now on, and counts on the lease

	record []byte     // as read last, and its view
	parsed *core.View // nil: of none

	renewed time.Duration // when the lease was, by the clock's Elapsed

	interrupt func() // ends the wait for news; nil: nobody waits
	kicked    bool   // somebody asked for a read while nobody waited
}

// state is the stage of life of a Provider.
type state uint8

const (
	idle state = iota
	joining
	member
	watcher
	left
)

// New makes the membership of one node. It does no I/O.
func New(cfg Config, b Backend) *Provider {
	p := &Provider{cfg: cfg, backend: b}
	p.base, p.end = context.WithCancelCause(context.Background()) // the one root of this service
	return p
}

// Promises says what the backend's word is worth.
func (p *Provider) Promises() core.Promises { return p.cfg.Promises }

// LeaseTTL is that of Config.
func (p *Provider) LeaseTTL() time.Duration { return p.cfg.TTL }

// Join stores self and starts reporting.
func (p *Provider) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	ctx, end, err := p.begin(ctx, env, joining)
	if err != nil {
		return p.named("join", err)
	}
	defer end()
	v, err := p.admit(ctx, self)
	if errors.Is(err, core.ErrConflict) {
		p.setWritten(self, false) // what is stored is another's
	}
	if err != nil {
		return p.named("join", p.over(ctx, err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != joining {
		return p.named("join", core.ErrStopped)
	}
	p.state, p.self, p.known = member, self, v
	p.renewed = p.env.Clock.Elapsed()
	p.report(v, report)
	p.start("renewals", p.renewals)
	return nil
}

// Watch reports without becoming a member. It returns when the backend has answered.
func (p *Provider) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	ctx, end, err := p.begin(ctx, env, watcher)
	if err != nil {
		return p.named("watch", err)
	}
	defer end()
	var v *core.View
	err = p.insist(ctx, "watch", func() (err error) {
		v, _, err = p.present(ctx)
		return err
	})
	if err != nil {
		return p.named("watch", p.over(ctx, err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != watcher {
		return p.named("watch", core.ErrStopped)
	}
	p.report(v, report)
	return nil
}

// insist does try until it ends well, or as it always will, or ctx has ended.
func (p *Provider) insist(ctx context.Context, what string, try func() error) error {
	failing := false
	var before error // the try that ctx cuts off says less
	for wait := p.newPause(); ; {
		err := try()
		if err != nil && before != nil && ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), before)
		}
		if before == nil || !errors.Is(err, os.ErrDeadlineExceeded) { // a connection's deadline may come just before that of ctx
			before = err
		}
		p.note(ctx, &failing, what+" is tried again", err)
		if err == nil || final(err) {
			return err
		}
		if over := wait(ctx); over != nil {
			return fmt.Errorf("%w: %w", over, before)
		}
	}
}

// begin passes from idle to the state next. The context that it returns ends with Leave too.
func (p *Provider) begin(ctx context.Context, env core.Env, next state) (context.Context, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == left:
		return nil, nil, core.ErrStopped
	case p.state != idle:
		return nil, nil, fmt.Errorf("called a second time: %w", core.ErrInvalid)
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	}
	p.env, p.state = env, next
	p.all.Add(1)
	ctx, end := p.until(ctx)
	return ctx, func() { end(); p.all.Done() }, nil
}

// until is ctx, ended by Leave.
func (p *Provider) until(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.base, func() { cancel(core.ErrStopped) })
	return ctx, func() { stop(); cancel(nil) }
}

// report starts to tell of views, beginning with v. p.mu is held.
func (p *Provider) report(v *core.View, report func(*core.View)) {
	if r, ok := p.backend.(Runner); ok {
		p.start("watch", r.Run)
	}
	p.start("reports", func(ctx context.Context) { p.reports(ctx, v, report) })
}

// start runs do in a goroutine that Leave ends and waits for. p.mu is held.
func (p *Provider) start(name string, do func(context.Context)) {
	p.all.Add(1)
	p.env.Go(p.cfg.Name+"."+name, func() {
		defer p.all.Done()
		do(p.base)
	})
}

// Update replaces this member's own row.
func (p *Provider) Update(ctx context.Context, self core.Member) error {
	if err := p.ready(ctx, self.ID); err != nil {
		return p.named("update", err)
	}
	ctx, end := p.until(ctx)
	defer end()
	if err := p.replace(ctx, self); err != nil {
		return p.named("update", p.over(ctx, err))
	}
	p.kick()
	return nil
}

// SwapView stores next if the record still is old.
func (p *Provider) SwapView(ctx context.Context, old *core.View, next core.ViewRecord) (*core.View, error) {
	p.mu.Lock()
	id := p.self.ID
	p.mu.Unlock()
	if err := p.ready(ctx, id); err != nil {
		return nil, p.named("swap", err)
	}
	ctx, end := p.until(ctx)
	defer end()
	v, err := p.swap(ctx, old, next)
	if err != nil {
		return v, p.named("swap", p.over(ctx, err))
	}
	p.kick()
	return v, nil
}

// RenewLease extends the lease, if the member is still listed. Until its first call the provider renews by
// itself; from then on the lease runs out unless it is called again.
func (p *Provider) RenewLease(ctx context.Context) error {
	p.mu.Lock()
	p.driven = true
	id := p.self.ID
	p.mu.Unlock()
	if err := p.ready(ctx, id); err != nil {
		return p.named("renew", err)
	}
	ctx, end := p.until(ctx)
	defer end()
	if err := p.renew(ctx, id); err != nil {
		return p.named("renew", p.over(ctx, err))
	}
	return nil
}

// Refresh has the backend read now. It returns at once.
func (p *Provider) Refresh() { p.kick() }

// Leave removes self, if it may be stored, ends the reports and the renewals, and waits for them. The lease ends
// first: where a write needs one, none of this member can come after it.
func (p *Provider) Leave(ctx context.Context) error {
	p.mu.Lock()
	joined := p.state == member
	p.state = left
	p.end(core.ErrStopped)
	p.mu.Unlock()
	p.all.Wait()
	p.mu.Lock()
	id, leased, stored := p.self.ID, p.leased, p.written && !p.evicted
	p.mu.Unlock()
	var errs []error
	if leased {
		errs = append(errs, p.backend.Release(ctx, id))
	}
	if stored {
		errs = append(errs, p.remove(ctx, id, joined))
	}
	if err := errors.Join(errs...); err != nil {
		return p.named("leave", err)
	}
	p.mu.Lock()
	p.leased, p.written = false, false
	p.mu.Unlock()
	return nil
}

// ready tells why p cannot act as the member id now; nil if it can.
func (p *Provider) ready(ctx context.Context, id core.MemberID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == left:
		return core.ErrStopped
	case ctx.Err() != nil:
		return ctx.Err()
	case p.state != member || id != p.self.ID:
		return fmt.Errorf("%q has not joined here: %w", id, core.ErrInvalid)
	case p.evicted:
		return fmt.Errorf("member %q is not listed any more: %w", id, core.ErrEvicted)
	}
	return nil
}

// over says ErrStopped where Leave has ended what err tells of.
func (p *Provider) over(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, core.ErrStopped) {
		return fmt.Errorf("%w: %w", core.ErrStopped, err)
	}
	return err
}

func (p *Provider) named(what string, err error) error {
	return fmt.Errorf("%s: %s: %w", p.cfg.Name, what, err)
}

var (
	_ core.Provider     = (*Provider)(nil)
	_ core.ViewStore    = (*Provider)(nil)
	_ core.MemberLeases = (*Provider)(nil)
	_ core.Refresher    = (*Provider)(nil)
)
