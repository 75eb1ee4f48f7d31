package cluster_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/rendezvous"
)

// ring is the plainest lookup that places by ownership alone: a core.Router.
type ring struct {
	host    core.Host
	env     core.Env
	view    atomic.Pointer[core.View]
	wg      sync.WaitGroup
	reshape func(core.Topology) error // in its place, if set
	forgot  atomic.Int64
}

func newRing() (core.Lookup, error) { return &ring{}, nil }

func (r *ring) Start(_ context.Context, host core.Host, env core.Env) error {
	r.host, r.env = host, env
	return nil
}

func (r *ring) Owner(id core.Identity) (owner core.Member, ok bool) {
	v := r.view.Load()
	if v == nil {
		return core.Member{}, false
	}
	var best uint64
	key := rendezvous.String(1, id.String())
	for _, m := range v.Hosting(id.Kind) {
		if score := rendezvous.Combine(rendezvous.String(2, string(m.ID)), key); !ok || score > best {
			owner, best, ok = m, score, true
		}
	}
	return owner, ok
}

func (r *ring) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	owner, ok := r.Owner(id)
	switch {
	case !ok:
		return core.Placement{}, core.WithDelivery(core.ErrNoMember, core.Undelivered)
	case owner.ID != r.host.Self().ID:
		return core.Placement{}, core.WithDelivery(fmt.Errorf("%s: %w", id, core.ErrNotOwner), core.Undelivered)
	}
	return r.host.Activate(ctx, id, core.Token{})
}

func (r *ring) Forget(core.Identity, core.PID) { r.forgot.Add(1) }

func (r *ring) Handle(_ context.Context, from core.Member, m core.Message) (core.Message, error) {
	return core.Message{Type: "echo", Data: append([]byte(from.ID+" "), m.Data...)}, nil
}

func (r *ring) Reshape(t core.Topology) error {
	if r.reshape != nil {
		return r.reshape(t)
	}
	r.view.Store(t.View)
	for a := range r.host.Activations() {
		if owner, ok := r.Owner(a.Identity); !ok || owner.ID != r.host.Self().ID {
			r.wg.Add(1)
			r.env.Go("ring", func() {
				defer r.wg.Done()
				_ = r.host.Deactivate(context.Background(), a.Identity, a.Token, core.StopMoved)
			})
		}
	}
	return nil
}

func (r *ring) Stop(ctx context.Context) error {
	done := make(chan struct{})
	r.env.Go("ring stop", func() { r.wg.Wait(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	_ core.Lookup = (*ring)(nil)
	_ core.Router = (*ring)(nil)
)
