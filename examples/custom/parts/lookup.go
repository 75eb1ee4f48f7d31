package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
)

// Directory is a core.Lookup that writes into a core.Store where each identity lives. It places by the kind's
// strategy, and keeps Level 0.
type Directory struct {
	store core.Store
	group string
	host  core.Host
	env   core.Env
	view  atomic.Pointer[core.View]

	mu      sync.Mutex // guards what follows
	ctx     context.Context
	end     context.CancelFunc
	flights map[core.Identity]*flight
	all     sync.WaitGroup // Add only while ctx is alive
}

// flight is a Resolve that several callers share.
type flight struct {
	done chan struct{}
	core.Placement
	err error
}

// NewDirectory makes the lookup of one node. Nodes of one store and name share a directory.
func NewDirectory(n Name, s core.Store) *Directory {
	return &Directory{store: s, group: string(n) + " directory", flights: map[core.Identity]*flight{}}
}

// row is what the store has of an identity. Without Placed its host is just starting it.
type row struct {
	Host   core.MemberID
	Placed bool
	core.Placement
}

func (d *Directory) key(id core.Identity) core.Key {
	return core.Key{Group: d.group, Name: id.String()}
}

func (d *Directory) find(ctx context.Context, id core.Identity) (r row, at core.Revision, err error) {
	item, err := d.store.Get(ctx, d.key(id))
	if errors.Is(err, core.ErrNotFound) {
		return r, core.Absent, nil
	}
	if err == nil {
		err = json.Unmarshal(item.Value, &r)
	}
	return r, item.Revision, err
}

// Start takes the node's host.
func (d *Directory) Start(ctx context.Context, host core.Host, env core.Env) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx != nil {
		return fmt.Errorf("directory: started a second time, or after its end: %w", core.ErrInvalid)
	}
	d.host, d.env = host, env
	d.ctx, d.end = context.WithCancel(context.WithoutCancel(ctx))
	d.later(d.sweeps)
	return nil
}

// later runs f in a goroutine that Stop ends and waits for; false after Stop. d.mu is held.
func (d *Directory) later(f func(context.Context)) bool {
	if d.ctx == nil || d.ctx.Err() != nil {
		return false
	}
	d.all.Add(1)
	d.env.Go("directory", func() { defer d.all.Done(); f(d.ctx) })
	return true
}

// Resolve finds where id lives, or has it started. Callers of one identity share one attempt.
func (d *Directory) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	d.mu.Lock()
	f, flying := d.flights[id]
	if !flying {
		f = &flight{done: make(chan struct{})}
		flying = d.later(func(ctx context.Context) {
			f.Placement, f.err = d.resolve(ctx, id)
			d.mu.Lock()
			delete(d.flights, id)
			d.mu.Unlock()
			close(f.done)
		})
		if flying {
			d.flights[id] = f
		}
	}
	d.mu.Unlock()
	if !flying {
		return core.Placement{}, refusal(id, core.ErrStopped)
	}
	select {
	case <-f.done:
		return f.Placement, f.err
	case <-ctx.Done():
		return core.Placement{}, core.WithDelivery(fmt.Errorf("directory: resolve %s: %w", id, ctx.Err()), core.Undelivered)
	}
}

func (d *Directory) resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	view := d.view.Load()
	if view == nil {
		return core.Placement{}, refusal(id, core.ErrBusy)
	}
	r, _, err := d.find(ctx, id)
	host, listed := view.Member(r.Host)
	switch {
	case err != nil:
		return core.Placement{}, refusal(id, fmt.Errorf("%w: %w", core.ErrUnreachable, err))
	case listed && r.Placed:
		return r.Placement, nil
	case !listed:
		var some bool
		if host, some = d.host.Strategy(id.Kind).Pick(id, view.Hosting(id.Kind)); !some {
			return core.Placement{}, refusal(id, core.ErrNoMember)
		}
	}
	var p core.Placement
	if host.ID == d.host.Self().ID {
		p, err = d.activate(ctx, id)
	} else {
		p, err = d.ask(ctx, host, id)
	}
	if err != nil {
		return p, refusal(id, err)
	}
	return p, nil
}

// askType is the type of a message that holds an identity; its answer holds a placement.
const askType = "example.Activate"

func (d *Directory) ask(ctx context.Context, host core.Member, id core.Identity) (p core.Placement, err error) {
	answer, err := d.host.Call(ctx, host, core.Message{Type: askType, Data: []byte(id.String())})
	if err == nil {
		err = json.Unmarshal(answer.Data, &p)
	}
	return p, err
}

// Handle activates what another node asks for.
func (d *Directory) Handle(ctx context.Context, from core.Member, m core.Message) (core.Message, error) {
	id, err := core.ParseIdentity(string(m.Data))
	if err == nil && m.Type != askType {
		err = fmt.Errorf("directory: %q from %s: %w", m.Type, from.ID, core.ErrInvalid)
	}
	if err != nil {
		return core.Message{}, err
	}
	p, err := d.activate(ctx, id)
	if err != nil {
		return core.Message{}, core.WithDelivery(err, core.Undelivered)
	}
	data, err := json.Marshal(p)
	return core.Message{Type: askType, Data: data}, err
}

// activate claims id for this node, runs it, and writes down where.
func (d *Directory) activate(ctx context.Context, id core.Identity) (p core.Placement, err error) {
	d.mu.Lock()
	over := d.ctx.Err() != nil
	if !over {
		d.all.Add(1)
		defer d.all.Done()
	}
	d.mu.Unlock()
	if over {
		return p, core.ErrStopped
	}
	r, at, err := d.find(ctx, id)
	if err != nil {
		return p, err
	}
	self := d.host.Self().ID
	if _, listed := d.view.Load().Member(r.Host); listed && r.Host != self {
		return p, core.ErrNotOwner // somebody was faster
	}
	if at, err = d.write(ctx, id, row{Host: self}, at); err != nil {
		return p, err
	}
	if p, err = d.host.Activate(ctx, id, core.Token{}); err != nil {
		return p, errors.Join(err, d.store.Delete(ctx, d.key(id), at))
	}
	_, err = d.write(ctx, id, row{self, true, p}, at) // if that fails, the next sweep ends it
	return p, err
}

func (d *Directory) write(ctx context.Context, id core.Identity, r row, at core.Revision) (core.Revision, error) {
	data, err := json.Marshal(r)
	if err == nil {
		at, err = d.store.Put(ctx, d.key(id), data, at)
	}
	if errors.Is(err, core.ErrConflict) {
		err = core.Retry(fmt.Errorf("somebody else is starting or ending it: %w", core.ErrBusy), 10*time.Millisecond)
	}
	return at, err
}

// Forget has the next Resolve ask the host again.
func (d *Directory) Forget(id core.Identity, stale core.PID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.later(func(ctx context.Context) {
		if r, at, err := d.find(ctx, id); err == nil && r.PID == stale {
			r.Placed = false
			_, _ = d.write(ctx, id, r, at) // else the row is not what it was, or Forget comes again
		}
	})
}

// Released deletes the row of an activation that has ended, and one that may just be about to name it.
func (d *Directory) Released(a core.Activation, _ core.StopReason) {
	ctx := context.WithoutCancel(d.ctx) // also in the last moments
	if r, at, err := d.find(ctx, a.Identity); err == nil && r.Host == a.PID.Member && (r.PID == a.PID || !r.Placed) {
		_ = d.store.Delete(ctx, d.key(a.Identity), at) // else who is sent there finds nobody, and Forget comes
	}
}

// Reshape takes the view from which hosts are picked.
func (d *Directory) Reshape(t core.Topology) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.view.Store(t.View)
	if d.ctx == nil || d.ctx.Err() != nil {
		return fmt.Errorf("directory: reshape: %w", core.ErrStopped)
	}
	return nil
}

// sweeps end, every 2 s, what runs here and is another's by its row: of two nodes with different views, each may
// have started an identity.
func (d *Directory) sweeps(ctx context.Context) {
	for {
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return
		}
		for a := range d.host.Activations() {
			r, _, err := d.find(ctx, a.Identity)
			if err == nil && r.Host != d.host.Self().ID || !d.host.Self().Hosts(a.Identity.Kind) {
				_ = d.host.Deactivate(ctx, a.Identity, a.Token, core.StopMoved) // goes on behind a ctx that ends
			}
		}
	}
}

// Stop ends what runs here, and takes it out of the directory.
func (d *Directory) Stop(ctx context.Context) error {
	d.mu.Lock()
	if d.ctx == nil {
		d.ctx, d.end = context.WithCancel(ctx)
	}
	first := d.ctx.Err() == nil
	d.end()
	d.mu.Unlock()
	d.all.Wait()
	if !first || d.host == nil {
		return nil
	}
	for a := range d.host.Activations() {
		_ = d.host.Deactivate(ctx, a.Identity, a.Token, core.StopLeaving)
		d.Released(a, core.StopLeaving)
	}
	return nil
}

// refusal makes err one that Resolve may return.
func refusal(id core.Identity, err error) error {
	known := []error{core.ErrNoMember, core.ErrNoKind, core.ErrBusy, core.ErrOverloaded, core.ErrNotOwner, core.ErrUnreachable, core.ErrStopped}
	if !slices.ContainsFunc(known, func(sentinel error) bool { return errors.Is(err, sentinel) }) {
		err = fmt.Errorf("%w: %w", core.ErrUnreachable, err)
	}
	return core.WithDelivery(fmt.Errorf("directory: resolve %s: %w", id, err), core.Undelivered)
}

var (
	_ core.Lookup          = (*Directory)(nil)
	_ core.ReleaseListener = (*Directory)(nil)
)
