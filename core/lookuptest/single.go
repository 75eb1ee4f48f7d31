package lookuptest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// crowd is how many callers ask at once.
const crowd = 50

// singleRows are about one identity in a view that stays.
func singleRows(h Harness, tr traits) []suitetest.Row {
	tokens := skipUnless(h.Level >= 1, "level 0: tokens order nothing")
	return []suitetest.Row{
		{Promise: "Resolve activates once and then gives the same placement, on every node", Check: func(t testing.TB) { samePlacement(t, h, true) }},
		{Promise: "the same under views without a lineage", Skip: skipUnless(!tr.ordered, "the lookup requires ordered views"),
			Check: func(t testing.TB) { samePlacement(t, h, false) }},
		{Promise: "simultaneous calls share one attempt", Check: func(t testing.TB) { shareAttempt(t, h) }},
		{Promise: "an attempt outlives a caller that gives up", Check: func(t testing.TB) { outlive(t, h) }},
		{Promise: "Resolve ends with its context", Check: func(t testing.TB) { endWithContext(t, h) }},
		{Promise: "a kind that nobody hosts gives ErrNoMember", Check: func(t testing.TB) { noMember(t, h) }},
		{Promise: "only members that are Up and list the kind host it", Check: func(t testing.TB) { onlyHosts(t, h) }},
		{Promise: "a refusal of the host reaches the caller with its RetryAfter", Check: func(t testing.TB) { refusalReaches(t, h) }},
		{Promise: "an ended activation is followed by a new one", Check: func(t testing.TB) { afterEnd(t, h) }},
		{Promise: "Forget of another placement disturbs nothing", Check: func(t testing.TB) { forgetOther(t, h) }},
		{Promise: "Forget of a placement that lives leads back to it", Check: func(t testing.TB) { forgetLiving(t, h) }},
		{Promise: "a lost answer leads to no second activation", Check: func(t testing.TB) { lostAnswers(t, h) }},
		{Promise: "tokens grow from one activation to the next", Skip: tokens, Check: func(t testing.TB) { tokensGrow(t, h) }},
	}
}

func samePlacement(t testing.TB, h Harness, ordered bool) {
	w := newWorld(t, h, ordered, 3)
	for _, id := range ids(30) {
		p := w.mustResolve(w.nodes[0], id)
		for _, n := range w.nodes {
			if again := w.mustResolve(n, id); again != p {
				t.Errorf("%s on %s: %+v, on the first node %+v", id, n.self.ID, again, p)
			}
		}
		if n := w.history.starts(id); n != 1 {
			t.Errorf("%s was activated %d times", id, n)
		}
		if as := w.running(id); len(as) != 1 || as[0].Placement != p {
			t.Errorf("%s: resolved to %+v, but %v runs", id, p, as)
		}
	}
}

func shareAttempt(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	id := ids(1)[0]
	for _, n := range w.nodes {
		n.holdActivations()
	}
	ctx := suitetest.WithTimeout(t, h.Settle)
	var callers sync.WaitGroup
	placements := make([]core.Placement, crowd)
	for i := range crowd {
		callers.Go(func() {
			p, err := w.nodes[0].lookup.Resolve(ctx, id)
			if err != nil {
				t.Errorf("resolve: %v", err)
			}
			placements[i] = p
		})
	}
	w.awaitActivate(ctx, 1)
	timer := time.NewTimer(10 * stopTakes) // until the last of the callers has asked
	<-timer.C
	for _, n := range w.nodes {
		n.release()
	}
	callers.Wait()
	for _, p := range placements {
		if p != placements[0] {
			t.Errorf("callers got %+v and %+v", placements[0], p)
		}
	}
	if calls := w.nodes[0].calls() + w.nodes[1].calls(); calls != 1 {
		t.Errorf("%d simultaneous calls made %d attempts to activate, want 1", crowd, calls)
	}
}

// awaitActivate waits until Activate was called n times in all.
func (w *world) awaitActivate(ctx context.Context, n int) {
	w.t.Helper()
	w.await(ctx, "a call of Activate", func() bool {
		calls := 0
		for _, node := range w.nodes {
			calls += node.calls()
		}
		return calls >= n
	})
}

// await polls, since what it waits for is told by nobody.
func (w *world) await(ctx context.Context, what string, done func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
}

// pause gives what should not happen the time to happen.
func pause() {
	timer := time.NewTimer(5 * stopTakes)
	<-timer.C
}

func outlive(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	id := ids(1)[0]
	for _, n := range w.nodes {
		n.holdActivations()
	}
	ctx, giveUp := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	var caller sync.WaitGroup
	caller.Go(func() {
		_, err := w.nodes[0].lookup.Resolve(ctx, id)
		answer <- err
	})
	limit := suitetest.WithTimeout(t, h.Settle)
	w.awaitActivate(limit, 1)
	giveUp()
	select {
	case err := <-answer:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that gave up got %v, want its context's error", err)
		}
	case <-limit.Done():
		t.Error("Resolve does not return when its context ends")
	}
	pause() // an attempt that was its caller's would end now
	for _, n := range w.nodes {
		n.release()
	}
	caller.Wait()
	w.await(limit, "the activation that the attempt makes", func() bool { return len(w.running(id)) == 1 })
	running := w.running(id)[0]
	if p := w.mustResolve(w.nodes[1], id); p != running.Placement {
		t.Errorf("a later caller got %+v, the attempt made %+v", p, running.Placement)
	}
	if n := w.history.starts(id); n != 1 {
		t.Errorf("%d activations, want 1", n)
	}
}

func endWithContext(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	w.nodes[0].holdActivations()
	w.nodes[1].holdActivations()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), h.Settle/10)
	defer cancel()
	if _, err := w.nodes[0].lookup.Resolve(ctx, ids(1)[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("resolve: %v, want the context's error", err)
	}
	if took := time.Since(begin); took > h.Settle/2 {
		t.Errorf("Resolve took %v under a context of %v", took, h.Settle/10)
	}
}

func noMember(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	_, err := w.nodes[0].lookup.Resolve(suitetest.WithTimeout(t, h.Settle), core.Identity{Kind: "Nobody", Key: "k"})
	if !errors.Is(err, core.ErrNoMember) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("resolve: %v (%v), want ErrNoMember, undelivered", err, core.DeliveryOf(err))
	}
}

func onlyHosts(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	other := w.add("Other")
	w.start(other)
	joining := w.add(kind)
	joining.self.Status = core.Joining
	w.start(joining)
	w.setStatus(w.nodes[1], core.Leaving)
	w.publish()
	for _, id := range ids(30) {
		if p := w.mustResolve(w.nodes[0], id); p.PID.Member != w.nodes[0].self.ID {
			t.Errorf("%s was placed on %s, which may not host it", id, p.PID.Member)
		}
	}
	for _, n := range []*node{other, joining} {
		if p := w.mustResolve(n, ids(1)[0]); p.PID.Member != w.nodes[0].self.ID {
			t.Errorf("from %s: placed on %s, which may not host it", n.self.ID, p.PID.Member)
		}
	}
}

func refusalReaches(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	refusal := core.Retry(core.ErrOverloaded, 40*time.Millisecond)
	for _, n := range w.nodes {
		n.refuseWith(refusal)
	}
	for _, id := range ids(10) {
		_, err := w.nodes[0].lookup.Resolve(suitetest.WithTimeout(t, h.Settle), id)
		after, ok := core.RetryAfter(err)
		if !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered || !ok || after <= 0 {
			t.Errorf("resolve: %v (%v, retry after %v), want ErrOverloaded, undelivered, with a time", err, core.DeliveryOf(err), after)
		}
	}
	for _, n := range w.nodes {
		n.release()
	}
	for _, id := range ids(10) {
		w.mustResolve(w.nodes[0], id)
	}
}

// end stops the activation behind p, as passivation does.
func (w *world) end(p core.Placement, id core.Identity) {
	w.t.Helper()
	n := w.node(p.PID.Member)
	if err := n.Deactivate(suitetest.WithTimeout(w.t, w.h.Settle), id, p.Token, core.StopIdle); err != nil {
		w.t.Errorf("deactivate: %v", err)
	}
}

func afterEnd(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	for _, id := range ids(10) {
		p := w.mustResolve(w.nodes[0], id)
		w.end(p, id)
		for _, n := range w.nodes {
			n.lookup.Forget(id, p.PID) // a call found nobody
		}
		next := w.mustResolve(w.nodes[1], id)
		if as := w.running(id); next.PID == p.PID || len(as) != 1 || as[0].Placement != next {
			t.Errorf("%s: after %+v ended, resolved to %+v, and %v runs", id, p, next, as)
		}
		for _, n := range w.nodes {
			if again := w.mustResolve(n, id); again != next {
				t.Errorf("%s on %s: %+v, before %+v", id, n.self.ID, again, next)
			}
		}
	}
}

func forgetOther(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	id := ids(1)[0]
	p := w.mustResolve(w.nodes[0], id)
	stale := p.PID
	stale.ID += "-older"
	for _, n := range w.nodes {
		n.lookup.Forget(id, stale)
		n.lookup.Forget(core.Identity{Kind: kind, Key: "unknown"}, p.PID)
	}
	pause()
	for _, n := range w.nodes {
		if again := w.mustResolve(n, id); again != p {
			t.Errorf("resolved to %+v, before to %+v", again, p)
		}
	}
	if n := w.history.starts(id); n != 1 {
		t.Errorf("%d activations, want 1", n)
	}
}

func forgetLiving(t testing.TB, h Harness) {
	w := newRovingWorld(t, h, true, 3)
	w.calm() // what roves is the strategy
	for _, id := range ids(10) {
		p := w.mustResolve(w.nodes[0], id)
		for _, n := range w.nodes {
			n.lookup.Forget(id, p.PID) // the hint is wrong: it lives
		}
		for _, n := range w.nodes {
			next := w.mustResolve(n, id)
			if as := w.running(id); len(as) != 1 || as[0].Placement != next {
				t.Errorf("%s: resolved to %+v, but %v runs", id, next, as)
			}
		}
	}
	w.checkHistory()
}

func lostAnswers(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	w.setFault(func(core.MemberID, core.MemberID) fault { return lostAnswer })
	for _, id := range ids(20) {
		ctx, cancel := context.WithTimeout(t.Context(), h.Settle/20)
		_, _ = w.resolve(ctx, w.nodes[0], id) // whether it succeeds is the lookup's affair
		cancel()
	}
	w.setFault(nil)
	w.checkConverged(ids(20))
	for _, id := range ids(20) {
		if n := w.history.starts(id); n != 1 {
			t.Errorf("%s was activated %d times", id, n)
		}
	}
}

func tokensGrow(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	id := ids(1)[0]
	for i := range 20 {
		n := w.nodes[i%3]
		p := w.mustResolve(n, id)
		if p.Token.IsZero() {
			t.Fatalf("the token is zero: %+v", p)
		}
		w.end(p, id)
		n.lookup.Forget(id, p.PID)
	}
	w.checkHistory()
	if n := w.history.starts(id); n != 20 {
		t.Errorf("%d activations, want 20", n)
	}
}
