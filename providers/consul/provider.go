package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// record is the membership of one node in mode Record: a viewkeeper.Provider, and beside it an entry in the
// catalogue, for other readers.
type record struct {
	*viewkeeper.Provider
	client  *client
	backend *backend
	keeper  *keeper
}

// Join stores self, and starts to keep its entry.
func (r *record) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	if err := r.Provider.Join(ctx, env, self, report); err != nil {
		if lasting(err) { // nothing was begun then, and nobody calls Leave: the session must not outlive it
			err = errors.Join(err, r.backend.Release(ctx, self.ID))
		}
		return err
	}
	r.keeper.start(env, self, false)
	return nil
}

// Watch looks first whether the agent can serve: what cannot get better is an error here.
func (r *record) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	if err := r.client.check(ctx); lasting(err) {
		return fmt.Errorf("consul: watch: %w", err)
	}
	return r.Provider.Watch(ctx, env, report)
}

// lasting reports whether err is one that another try does not mend.
func lasting(err error) bool {
	return errors.Is(err, core.ErrInvalid) || errors.Is(err, core.ErrUnsupported)
}

// Update replaces this member's own row, and its entry.
func (r *record) Update(ctx context.Context, self core.Member) error {
	if err := r.Provider.Update(ctx, self); err != nil {
		return err
	}
	r.keeper.set(self)
	return nil
}

// Leave removes self and its entry.
func (r *record) Leave(ctx context.Context) error {
	err := r.Provider.Leave(ctx)
	limited, cancel := context.WithTimeout(ctx, time.Second) // the entry is worth no longer wait
	defer cancel()
	if lost := r.keeper.stop(limited); lost != nil {
		r.keeper.env.Logger.Warn("the entry in Consul's catalogue is left to expire", slog.String("error", lost.Error()))
	}
	r.client.close()
	return err
}

var (
	_ core.ViewStore    = (*record)(nil)
	_ core.MemberLeases = (*record)(nil)
	_ core.Refresher    = (*record)(nil)
)
