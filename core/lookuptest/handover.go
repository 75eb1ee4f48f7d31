package lookuptest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// handoverRows are about views that change.
func handoverRows(h Harness, tr traits) []suitetest.Row {
	return []suitetest.Row{
		{Promise: "a join disturbs no identity that stays", Check: func(t testing.TB) { joinDisturbsNothing(t, h, tr) }},
		{Promise: "a graceful leave moves what the leaver had, and nothing else", Check: func(t testing.TB) { leaveMoves(t, h, tr) }},
		{Promise: "a crash moves what the dead had, and nothing else", Check: func(t testing.TB) { crashMoves(t, h, tr) }},
		{Promise: "nothing new is placed on a leaver", Check: func(t testing.TB) { nothingOnLeaver(t, h) }},
		{Promise: "Reshape returns at once, whatever has to stop", Check: func(t testing.TB) { reshapeReturns(t, h) }},
		{Promise: "views that come late on some nodes do no harm", Check: func(t testing.TB) { skewedViews(t, h) }},
		{Promise: "random changes under load end in one activation each", Check: func(t testing.TB) { churn(t, h, true) }},
		{Promise: "the same churn under views without a lineage", Skip: skipUnless(!tr.ordered, "the lookup requires ordered views"),
			Check: func(t testing.TB) { churn(t, h, false) }},
	}
}

// checkConverged asks every node for every identity until all agree on the one activation that runs.
func (w *world) checkConverged(all []core.Identity) {
	w.t.Helper()
	ctx := suitetest.WithTimeout(w.t, w.h.Settle)
	for _, id := range all {
		for !w.agreed(ctx, id) {
			if ctx.Err() != nil {
				w.t.Fatalf("%s: %v after the last change, %v runs, and the nodes do not all resolve to it", id, w.h.Settle, w.running(id))
			}
			timer := time.NewTimer(stopTakes)
			<-timer.C
		}
	}
	w.checkHistory()
}

// agreed asks each node once, as often as it refuses.
func (w *world) agreed(ctx context.Context, id core.Identity) bool {
	var first core.Placement
	for i, n := range w.alive() {
		p, err := w.resolve(ctx, n, id)
		if err != nil {
			return false
		}
		if i == 0 {
			first = p
		}
		if p != first {
			return false
		}
	}
	as := w.running(id)
	return len(as) == 1 && as[0].Placement == first
}

// checkHistory holds what happened against the level that the lookup promises.
func (w *world) checkHistory() {
	w.t.Helper()
	if w.h.Level < 1 {
		return
	}
	events := w.history.all()
	for _, text := range overlaps(events) {
		w.t.Errorf("two at once: %s", text)
	}
	for _, text := range regressions(events) {
		w.t.Errorf("token: %s", text)
	}
}

// settled makes a cluster of n nodes with an activation of each of all.
func settled(t testing.TB, h Harness, n int, all []core.Identity) (*world, map[core.Identity]core.Placement) {
	t.Helper()
	w := newWorld(t, h, true, n)
	before := make(map[core.Identity]core.Placement, len(all))
	for i, id := range all {
		before[id] = w.mustResolve(w.nodes[i%n], id)
	}
	return w, before
}

// stays tells whether id should be where it was: its host is still there, and, under a Router, still
// the owner.
func (w *world) stays(tr traits, id core.Identity, was core.Placement) bool {
	host := w.node(was.PID.Member)
	if host.isDown() {
		return false
	}
	return !tr.router || w.owner(w.alive()[0], id) == was.PID.Member
}

func (w *world) checkUndisturbed(tr traits, before map[core.Identity]core.Placement) {
	w.t.Helper()
	pause()
	stayed := 0
	for id, was := range before {
		if !w.stays(tr, id, was) {
			continue
		}
		stayed++
		if now := w.mustResolve(w.alive()[0], id); now != was {
			w.t.Errorf("%s should have stayed at %+v, and is at %+v", id, was, now)
		}
		if n := w.history.starts(id); n != 1 {
			w.t.Errorf("%s should have stayed, and was activated %d times", id, n)
		}
	}
	if stayed == 0 {
		w.t.Error("nothing stayed: the check has checked nothing")
	}
}

func joinDisturbsNothing(t testing.TB, h Harness, tr traits) {
	all := ids(60)
	w, before := settled(t, h, 3, all)
	w.start(w.add(kind))
	w.publish()
	w.checkUndisturbed(tr, before)
	w.checkConverged(all)
}

func leaveMoves(t testing.TB, h Harness, tr traits) {
	all := ids(60)
	w, before := settled(t, h, 3, all)
	w.leave(w.nodes[1])
	w.checkUndisturbed(tr, before)
	w.checkConverged(all)
}

func crashMoves(t testing.TB, h Harness, tr traits) {
	all := ids(60)
	w, before := settled(t, h, 3, all)
	dead := w.nodes[1]
	w.crash(dead)
	for id, was := range before {
		if was.PID.Member == dead.self.ID {
			w.nodes[0].lookup.Forget(id, was.PID) // calls fail before the view changes
		}
	}
	w.unlist(dead.self.ID)
	w.publish()
	w.checkUndisturbed(tr, before)
	w.checkConverged(all)
}

func nothingOnLeaver(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	leaver := w.nodes[2]
	w.setStatus(leaver, core.Leaving)
	w.publish()
	for _, n := range w.nodes {
		for _, id := range ids(30) {
			if p := w.mustResolve(n, id); p.PID.Member == leaver.self.ID {
				t.Errorf("%s was placed on %s, which is leaving", id, p.PID.Member)
			}
		}
	}
}

func reshapeReturns(t testing.TB, h Harness) {
	all := ids(40)
	w, _ := settled(t, h, 2, all)
	w.start(w.add(kind))
	v := w.next()
	for _, n := range w.nodes {
		begin := time.Now()
		n.install(v)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Reshape on %s took %v", n.self.ID, took)
		}
	}
	w.checkConverged(all)
}

// skewedViews installs views node by node, with calls in between.
func skewedViews(t testing.TB, h Harness) {
	all := ids(30)
	w, _ := settled(t, h, 3, all)
	ctx := suitetest.WithTimeout(t, h.Settle)
	change := []func(){
		func() { w.start(w.add(kind)) },
		func() { w.setStatus(w.nodes[1], core.Leaving) },
		func() { w.crash(w.nodes[2]); w.unlist(w.nodes[2].self.ID) },
	}
	for _, step := range change {
		step()
		v := w.next()
		for _, n := range w.alive() {
			n.install(v)
			asked, cancel := context.WithTimeout(ctx, 3*stopTakes)
			var callers sync.WaitGroup
			for _, asker := range w.ready() {
				callers.Go(func() {
					for _, id := range all[:5] {
						_, _ = w.resolve(asked, asker, id) // refusals are right while views differ
					}
				})
			}
			callers.Wait()
			cancel()
		}
	}
	w.checkConverged(all)
}

// churn lets members come, leave and crash while callers ask, then looks at the end and the history.
func churn(t testing.TB, h Harness, ordered bool) {
	all := ids(20)
	w := newRovingWorld(t, h, ordered, 4)
	loading, stopLoad := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer stopLoad()
	for c := range 4 {
		random := rand.New(rand.NewPCG(uint64(c), 7))
		callers.Go(func() { w.load(loading, random, all) })
	}
	luck := rand.New(rand.NewPCG(2, 9)) // the network asks it under a lock
	w.setFault(func(core.MemberID, core.MemberID) fault {
		switch luck.IntN(10) {
		case 0:
			return lostRequest
		case 1:
			return lostAnswer
		}
		return healthy
	})
	random := rand.New(rand.NewPCG(1, 9))
	for range 12 {
		w.change(random)
		timer := time.NewTimer(time.Duration(random.Int64N(int64(20 * stopTakes))))
		<-timer.C
	}
	stopLoad()
	callers.Wait()
	w.setFault(nil)
	w.calm()
	w.checkConverged(all)
}

// load asks random nodes for random identities, and now and then ends what it got.
func (w *world) load(ctx context.Context, random *rand.Rand, all []core.Identity) {
	for ctx.Err() == nil {
		nodes := w.ready()
		n, id := nodes[random.IntN(len(nodes))], all[random.IntN(len(all))]
		asked, cancel := context.WithTimeout(ctx, 20*stopTakes)
		p, err := w.resolve(asked, n, id)
		cancel()
		if err == nil {
			w.meddle(ctx, random, n, core.Activation{Identity: id, Placement: p})
		}
		timer := time.NewTimer(time.Duration(random.Int64N(int64(time.Millisecond))))
		<-timer.C
	}
}

// meddle ends a quarter of what is resolved, and gives a wrong hint of another quarter.
func (w *world) meddle(ctx context.Context, random *rand.Rand, n *node, a core.Activation) {
	switch random.IntN(4) {
	case 0:
		_ = w.node(a.PID.Member).Deactivate(ctx, a.Identity, a.Token, core.StopIdle) // ends with ctx at the latest
		n.lookup.Forget(a.Identity, a.PID)
	case 1:
		n.lookup.Forget(a.Identity, a.PID)
	}
}

// change makes one random change of members; at least two stay.
func (w *world) change(random *rand.Rand) {
	nodes := w.alive()
	pick := nodes[random.IntN(len(nodes))]
	switch what := random.IntN(3); {
	case what == 0 || len(nodes) <= 2:
		w.start(w.add(kind))
		w.publish()
	case what == 1:
		w.leave(pick)
	default:
		w.crash(pick)
		w.unlist(pick.self.ID)
		w.publish()
	}
}
