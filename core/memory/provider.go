package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewedit"
)

// Provider is one node's membership on a Hub. It offers ViewStore, MemberLeases and Refresher, and
// keeps all promises but Compat. Safe for concurrent use.
type Provider struct {
	hub  *Hub
	wake chan struct{} // holds at most one: there may be something new
	stop chan struct{} // closed when reports must end
	done chan struct{} // closed when they have ended

	mu      sync.Mutex // guards what follows
	env     core.Env
	self    core.Member
	state   state
	crashed bool
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

// Promises promises everything but the form of Proto.Actor's rows.
func (p *Provider) Promises() core.Promises {
	return core.Promises{Ordered: true, Linearizable: true, Leases: true}
}

// Join stores self and starts reporting. It waits only while the record is full of departures whose
// guards run.
func (p *Provider) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	if err := p.begin(ctx, env, joining, nil); err != nil {
		return fmt.Errorf("memory: join: %w", err)
	}
	self.Kinds = slices.Clone(self.Kinds)
	p.hub.listen(p)
	for {
		wait, err := p.admit(self, report)
		if err != nil {
			p.hub.unlisten(p)
			return fmt.Errorf("memory: join: %w", err)
		}
		if !wait {
			return nil
		}
		select {
		case <-p.wake:
		case <-p.stop:
			p.hub.unlisten(p)
			return fmt.Errorf("memory: join: %w", core.ErrStopped)
		case <-ctx.Done():
			p.hub.unlisten(p)
			return fmt.Errorf("memory: join: %w", ctx.Err())
		}
	}
}

// begin passes from idle to the state next, and starts run, if any, in the same step: Leave waits for
// run as soon as it sees the state.
func (p *Provider) begin(ctx context.Context, env core.Env, next state, run func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == left:
		return core.ErrStopped
	case p.state != idle:
		return fmt.Errorf("called a second time: %w", core.ErrInvalid)
	case p.crashed:
		return fmt.Errorf("the member has crashed: %w", core.ErrUnreachable)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	p.env, p.state = env, next
	if run != nil {
		env.Go("memory.reports", run)
	}
	return nil
}

// admit stores self in one step with the change of state, so that a Leave comes before or after.
func (p *Provider) admit(self core.Member, report func(*core.View)) (wait bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state != joining:
		return false, core.ErrStopped
	case p.crashed:
		return false, fmt.Errorf("the member has crashed: %w", core.ErrUnreachable)
	}
	if wait, err = p.hub.admit(p.env, self); wait || err != nil {
		return wait, err
	}
	p.self, p.state = self, member
	p.env.Go("memory.reports", func() { p.run(report) })
	return false, nil
}

// Watch reports without becoming a member.
func (p *Provider) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	if err := p.begin(ctx, env, watcher, func() { p.run(report) }); err != nil {
		return fmt.Errorf("memory: watch: %w", err)
	}
	p.hub.listen(p)
	return nil
}

// Update replaces this member's own row.
func (p *Provider) Update(ctx context.Context, self core.Member) error {
	if err := p.ready(ctx, self.ID); err != nil {
		return fmt.Errorf("memory: update: %w", err)
	}
	if p.hub.lie == LieUpdate {
		return nil
	}
	if err := p.hub.update(self); err != nil {
		return fmt.Errorf("memory: update: %w", err)
	}
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
	case p.crashed:
		return fmt.Errorf("the member has crashed: %w", core.ErrUnreachable)
	case p.state != member || id != p.self.ID:
		return fmt.Errorf("%q has not joined here: %w", id, core.ErrInvalid)
	}
	return nil
}

// SwapView stores next if the record still is old.
func (p *Provider) SwapView(ctx context.Context, old *core.View, next core.ViewRecord) (*core.View, error) {
	p.mu.Lock()
	id := p.self.ID
	p.mu.Unlock()
	if err := p.ready(ctx, id); err != nil {
		return nil, fmt.Errorf("memory: swap: %w", err)
	}
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lie != LieSwap && (old == nil || h.view.Compare(old) != core.Same) {
		return h.view, fmt.Errorf("memory: swap: the record is not the old one any more: %w", core.ErrConflict)
	}
	err := h.write(viewedit.Stamp{Guard: h.ttl}, func(core.ViewRecord) (core.ViewRecord, error) { return next, nil })
	switch {
	case errors.Is(err, core.ErrConflict):
		return h.view, fmt.Errorf("memory: swap: %w", err)
	case err != nil:
		return nil, fmt.Errorf("memory: swap: %w", err)
	}
	return h.view, nil
}

// LeaseTTL is that of the hub.
func (p *Provider) LeaseTTL() time.Duration { return p.hub.ttl }

// RenewLease extends the lease, if the member is still listed. From its first call on, the lease
// runs out unless it is called again.
func (p *Provider) RenewLease(ctx context.Context) error {
	p.mu.Lock()
	id := p.self.ID
	p.mu.Unlock()
	if err := p.ready(ctx, id); err != nil {
		return fmt.Errorf("memory: renew: %w", err)
	}
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	l, listed := h.leases[id]
	if !listed {
		if h.lie == LieRenewal {
			return nil
		}
		return fmt.Errorf("memory: renew: member %q is not listed any more: %w", id, core.ErrEvicted)
	}
	l.renewals++
	l.counts = true
	return nil
}

// Refresh has the present view reported, if it was not yet.
func (p *Provider) Refresh() { p.kick() }

// kick wakes the goroutine that reports. It never blocks.
func (p *Provider) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Leave removes self, if it has joined, and ends the reports. It does not fail, since nothing here
// can be out of reach.
func (p *Provider) Leave(context.Context) error {
	p.mu.Lock()
	was, crashed, id := p.state, p.crashed, p.self.ID
	p.state = left
	if was != left && !crashed {
		close(p.stop)
	}
	p.mu.Unlock()
	if was == member || was == watcher {
		<-p.done
	}
	p.hub.unlisten(p)
	if was == member && !crashed {
		p.hub.remove(id)
	}
	return nil
}

// Crash makes the member vanish without a word, for tests: its reports end, its calls give
// ErrUnreachable, and its row stays until the lease has run out. Leave may be called afterwards, and
// changes nothing for the others.
func (p *Provider) Crash() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == left || p.crashed {
		return
	}
	p.crashed = true
	close(p.stop)
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	delete(p.hub.listeners, p)
	if l, listed := p.hub.leases[p.self.ID]; listed {
		l.renewals++ // whoever judges counts a whole TTL from here
		l.counts = true
	}
}

var (
	_ core.Provider     = (*Provider)(nil)
	_ core.ViewStore    = (*Provider)(nil)
	_ core.MemberLeases = (*Provider)(nil)
	_ core.Refresher    = (*Provider)(nil)
)
