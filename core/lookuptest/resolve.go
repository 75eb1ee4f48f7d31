package lookuptest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// resolve asks as the engine does: it tries again after what is known not to have run, with the time
// that the error names, until ctx ends. It complains of errors that Resolve may not return.
func (w *world) resolve(ctx context.Context, n *node, id core.Identity) (core.Placement, error) {
	pause := time.Millisecond
	for {
		p, err := n.lookup.Resolve(ctx, id)
		if err == nil {
			w.checkPlacement(id, p)
			return p, nil
		}
		w.checkRefusal(ctx, id, err)
		if errors.Is(err, core.ErrStopped) || ctx.Err() != nil {
			return p, err
		}
		wait := pause
		if after, ok := core.RetryAfter(err); ok {
			wait = max(after, time.Millisecond)
		}
		pause = min(2*pause, 50*time.Millisecond)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return core.Placement{}, err
		}
	}
}

func (w *world) checkPlacement(id core.Identity, p core.Placement) {
	w.mu.Lock()
	n, known := w.byID[p.PID.Member]
	w.mu.Unlock()
	if !known || p.PID.Address != n.self.Address || p.PID.ID == "" {
		w.t.Errorf("resolve %s: the placement %+v names no process of a member", id, p)
	}
}

// refusals are the errors of Resolve.
var refusals = []error{
	core.ErrNoMember, core.ErrNoKind, core.ErrBusy, core.ErrOverloaded, core.ErrNotOwner, core.ErrUnreachable, core.ErrStopped,
}

func (w *world) checkRefusal(ctx context.Context, id core.Identity, err error) {
	w.t.Helper()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return
	}
	if d := core.DeliveryOf(err); d != core.Undelivered {
		w.t.Errorf("resolve %s: %v: the delivery is %v, want undelivered: a failed Resolve ran nothing of the call", id, err, d)
	}
	if !slices.ContainsFunc(refusals, func(s error) bool { return errors.Is(err, s) }) {
		w.t.Errorf("resolve %s: %v: none of the errors that Resolve may return", id, err)
	}
}

// mustResolve is resolve within Settle.
func (w *world) mustResolve(n *node, id core.Identity) core.Placement {
	w.t.Helper()
	p, err := w.resolve(suitetest.WithTimeout(w.t, w.h.Settle), n, id)
	if err != nil {
		w.t.Fatalf("resolve %s on %s: %v", id, n.self.ID, err)
	}
	return p
}
