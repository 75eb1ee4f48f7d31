package nodes

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// verify is the full check, after nothing has gone wrong for C.
func (w *world) verify() {
	w.checkConverged("L3")
	w.hushed.Store(true)
	w.endSome()
	w.hushed.Store(false)
	w.probeAll("L1")
	w.checkNoRetries()
	w.restartOne()
	w.flapOne()
	w.floodOne()
	w.replaceOne()
}

// checkConverged is L3, S2 and S3: one view, and everything runs once, where it belongs.
func (w *world) checkConverged(invariant string) {
	live := w.live()
	w.check(invariant, len(live) > 0, func() string { return "nobody lives" })
	for _, p := range live {
		v, first := p.node.View(), live[0].node.View()
		up := false
		if v != nil && first != nil {
			m, listed := v.Member(p.id)
			up = listed && m.Status == core.Up && v.Hash() == first.Hash() && v.Len() == len(live)
		}
		w.check(invariant, up, func() string {
			return fmt.Sprintf("%s is not up in the one view of %d members: %s", p.name, len(live), describe(v))
		})
		w.checkGossip(invariant, p)
		for a := range p.node.Activations() {
			owner, ok := p.router.Owner(a.Identity)
			w.check("S2", ok && owner.ID == p.id, func() string {
				return fmt.Sprintf("%s runs %s, which belongs to %s", p.name, a.Identity.Key, owner.ID)
			})
		}
	}
	w.checkDuplicates(live)
}

func describe(v *core.View) string {
	if v == nil {
		return "it has none"
	}
	text := fmt.Sprint("epoch ", v.Epoch())
	for m := range v.All() {
		text += fmt.Sprintf(" %s:%v", m.ID, m.Status)
	}
	return text
}

// checkGossip holds that all agree on the topology, and that nobody who is gone is known.
func (w *world) checkGossip(invariant string, p *process) {
	ctx, cancel := context.WithTimeout(context.Background(), converge)
	defer cancel()
	_, err := p.node.TopologyConsensus(ctx)
	w.check(invariant, err == nil, func() string { return fmt.Sprintf("%s: no consensus on the topology: %v", p.name, err) })
	w.mu.Lock()
	procs := slices.Clone(w.procs)
	w.mu.Unlock()
	for _, other := range procs {
		if other.dead {
			keys := p.node.StateKeys(other.id)
			w.check(invariant, len(keys) == 0, func() string {
				return fmt.Sprintf("%s still knows %q of %s, which is gone", p.name, keys, other.name)
			})
		}
	}
}

// checkDuplicates is S2 and S3 among all.
func (w *world) checkDuplicates(live []*process) {
	runs := map[core.Identity][]string{}
	for _, p := range live {
		for a := range p.node.Activations() {
			runs[a.Identity] = append(runs[a.Identity], p.name)
		}
	}
	for _, id := range w.ids {
		if len(runs[id]) > 0 {
			w.check("S2", len(runs[id]) == 1, func() string { return fmt.Sprintf("%s runs on %v", id.Key, runs[id]) })
		}
		owners := map[core.MemberID]bool{}
		for _, p := range live {
			owner, _ := p.router.Owner(id)
			owners[owner.ID] = true
		}
		w.check("S3", len(owners) == 1, func() string { return fmt.Sprintf("%s has %d owners", id.Key, len(owners)) })
	}
}

// probeAll is L1: every identity answers every member.
func (w *world) probeAll(invariant string) {
	var all sync.WaitGroup
	for _, p := range w.live() {
		rng := w.rand(fmt.Sprint("probe.", p.name, w.now()))
		for _, id := range w.ids {
			wait := 1 + time.Duration(rng.Int64N(int64(300*time.Millisecond)))
			all.Go(func() {
				time.Sleep(wait)
				r := w.ask(p, id, false, probeLimit, token("probe", id.Key, uint64(w.now())))
				w.check(invariant, r.err == nil || r.orphan, func() string {
					return fmt.Sprintf("%s does not answer %s: %v", id.Key, p.name, r.err)
				})
			})
		}
	}
	all.Wait()
	time.Sleep(20*time.Millisecond + time.Duration(w.rand(invariant+" done").Int64N(int64(time.Millisecond)))) // apart from what comes
}

// endSome has the identities whose turns take time end by themselves, while their own member calls them: once, since
// which of several that wait for an end is the first afterwards is not the seed's to say.
func (w *world) endSome() {
	live := w.live()
	for i, id := range w.ids[:slow] {
		at := slices.IndexFunc(live, func(p *process) bool { o, ok := p.router.Owner(id); return ok && o.ID == p.id })
		if at < 0 {
			continue
		}
		p, wait := live[at], 1+time.Duration(w.rand(fmt.Sprint("endSome.", i)).Int64N(int64(most)))
		var call sync.WaitGroup
		call.Go(func() {
			time.Sleep(wait)
			r := w.ask(p, id, false, callLimit, 2_000)
			w.check("L1", r.err == nil || r.orphan, func() string {
				return fmt.Sprintf("%s, which has ended by itself, does not answer %s: %v", id.Key, p.name, r.err)
			})
		})
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		_, err := grain.Call[bool](ctx, p.node, id, "Quit", true)
		cancel()
		w.check("L1", err == nil, func() string { return fmt.Sprintf("%s does not quit: %v", id.Key, err) })
		call.Wait()
		time.Sleep(100 * time.Millisecond)
	}
}

// checkNoRetries is L2: once everybody was asked, nobody remembers a place where an identity is not.
func (w *world) checkNoRetries() {
	live := w.live()
	before := w.retries(live)
	w.probeAll("L1")
	again := w.retries(live) - before
	w.check("L2", again == 0, func() string { return fmt.Sprintf("%d calls met a place where their grain was not", again) })
	w.quitSome(live)
}

// quitSome is L2 for activations that end by themselves: soon nobody looks for them where they were.
func (w *world) quitSome(live []*process) {
	if len(live) == 0 {
		return
	}
	for _, id := range w.ids[slow : slow+5] {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		_, err := grain.Call[bool](ctx, live[0].node, id, "Quit", true)
		cancel()
		w.check("L1", err == nil, func() string { return fmt.Sprintf("%s does not quit: %v", id.Key, err) })
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	before := w.retries(live)
	w.probeAll("L1")
	again := w.retries(live) - before
	w.check("L2", again == 0, func() string { return fmt.Sprintf("%d calls met a place where their grain had ended", again) })
}

func (w *world) retries(of []*process) (sum int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range of {
		sum += p.retried
	}
	return sum
}

// restartOne is L4: a process that takes over an address serves within C, whether the one before ended in
// order or not.
func (w *world) restartOne() {
	live := w.live()
	if len(live) == 0 {
		return
	}
	rng := w.rand("restartOne")
	p := live[rng.IntN(len(live))]
	w.restart(p, rng.IntN(2) == 0, 100*time.Millisecond)
	time.Sleep(converge)
	w.mu.Lock()
	next := p.m.cur
	w.mu.Unlock()
	w.check("L4", next != nil && next != p && next.up, func() string { return fmt.Sprintf("nobody serves in the place of %s", p.name) })
	w.checkConverged("L4")
	w.probeAll("L4")
}

// flapOne is L7: a member that loses the provider, and two heartbeats of all others, costs nothing.
func (w *world) flapOne() {
	live := w.live()
	if len(live) < 2 {
		return
	}
	rng := w.rand("flapOne")
	a := live[rng.IntN(len(live))]
	before := w.endings()
	w.isolate(a, live, 1)
	time.Sleep(time.Second)
	w.isolate(a, live, -1)
	time.Sleep(time.Second)
	moved := w.endings() - before
	w.check("L7", moved == 0, func() string {
		return fmt.Sprintf("%d activations ended since %s was out of sight for a second", moved, a.name)
	})
}

// isolate parts a from the provider and from all others, or takes that back. What was held is not let go at one
// instant.
func (w *world) isolate(a *process, live []*process, cuts int) {
	w.change(a.m.index, provider, cuts, 0)
	for _, o := range live {
		if o != a {
			time.Sleep(1_013 * time.Microsecond)
			_, _ = w.both(a.m.index, o.m.index, cuts, 0)
		}
	}
}

func (w *world) endings() (sum int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.procs {
		if !p.dead {
			sum += p.ended
		}
	}
	return sum
}

// replaceOne is L8: a member that leaves in order, and one that comes in its place, cost the callers of the
// others nothing but time.
func (w *world) replaceOne() {
	live := w.live()
	if len(live) < 2 {
		return
	}
	rng := w.rand("replaceOne")
	p := live[rng.IntN(len(live))]
	live = slices.DeleteFunc(live, func(o *process) bool { return o == p })
	var all sync.WaitGroup
	for _, o := range live {
		for i := range 60 {
			wait := time.Duration(i)*40*time.Millisecond + 1 + time.Duration(rng.Int64N(int64(30*time.Millisecond)))
			to := w.ids[rng.IntN(len(w.ids))]
			all.Go(func() {
				time.Sleep(wait)
				r := w.ask(o, to, false, 5*time.Second, 1_000+uint64(i))
				w.check("L8", r.err == nil && r.ended-r.began < time.Second, func() string {
					return fmt.Sprintf("while %s was replaced, a call of %s by %s took %v: %v", p.name, to.Key, o.name, r.ended-r.began, r.err)
				})
			})
		}
	}
	time.Sleep(300*time.Millisecond + time.Duration(rng.Int64N(int64(20*time.Millisecond))))
	w.leave(p, "L6")
	gone := w.within(time.Second, func() bool {
		return !slices.ContainsFunc(live, func(o *process) bool { return lists(o.node.View(), p.id) })
	})
	w.check("L6", gone, func() string { return fmt.Sprintf("%s has left, and its row is still there", p.name) })
	w.boot(p.m)
	all.Wait()
}

// lists reports whether v, which may be nil, has a row of id.
func lists(v *core.View, id core.MemberID) bool {
	if v == nil {
		return false
	}
	_, listed := v.Member(id)
	return listed
}

// What may wait for one peer, and what the connection below it may hold at most.
const (
	queueBytes    = 256 << 10
	queueMessages = 1_000
	connection    = 768 << 10
	parcel        = 16 << 10
)

// floodOne is R4: a peer that does not read costs its sender no more than the bound. Nobody else calls meanwhile:
// behind how much of the flood a call would have to wait is not the seed's to say.
func (w *world) floodOne() {
	live := w.live()
	if len(live) < 2 {
		return
	}
	rng := w.rand("floodOne")
	i := rng.IntN(len(live))
	p, q := live[i], live[(i+1)%len(live)]
	to := slices.IndexFunc(w.ids, func(id core.Identity) bool { o, ok := p.router.Owner(id); return ok && o.ID == q.id })
	if to < 0 {
		return
	}
	w.hushed.Store(true)
	defer w.hushed.Store(false)
	time.Sleep(callLimit / 100)
	w.change(p.m.index, q.m.index, 1, 0)
	accepted, refused := 0, 0
	for range (queueBytes+connection)/parcel + 20 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		err := grain.Tell(ctx, p.node, w.ids[to], "Sink", make([]byte, parcel))
		cancel()
		if err == nil {
			accepted += parcel
		} else if refused++; refused == 3 {
			break
		}
	}
	w.change(p.m.index, q.m.index, -1, 0)
	w.check("R4", refused > 0 && accepted <= queueBytes+connection, func() string {
		return fmt.Sprintf("%s took %d bytes for %s, which read none, and refused %d times", p.name, accepted, q.name, refused)
	})
	time.Sleep(time.Second)
}
