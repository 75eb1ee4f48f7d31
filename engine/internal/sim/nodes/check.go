package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

// stamp names a view.
type stamp struct {
	lineage string
	epoch   uint64
}

func stampOf(v *core.View) stamp { return stamp{v.Lineage(), v.Epoch()} }

type spawn struct {
	view stamp
	id   core.Identity
}

// ledger is what the checks remember.
type ledger struct {
	hashes   map[stamp]uint64 // of views
	spawned  map[spawn]*process
	owners   map[uint64][]core.MemberID // of all identities, by hash of the view
	requests []*request
	byNumber map[uint64]*request
	banned   map[core.MemberID]bool // some time, by anybody
	counts   map[string]uint64
}

func (l *ledger) init() {
	l.hashes, l.spawned, l.owners = map[stamp]uint64{}, map[spawn]*process{}, map[uint64][]core.MemberID{}
	l.banned = map[core.MemberID]bool{}
	l.byNumber, l.counts = map[uint64]*request{}, map[string]uint64{}
}

// ledgerSpawn is S1: by one view, one member runs an identity. A member that decided by the view before is
// not counted: what it started is stopped at once. Nor is one whose lookup has the next view, which the node has yet
// to show: what it starts, it starts by that.
func (w *world) ledgerSpawn(p *process, id core.Identity, v *core.View) {
	if v == nil {
		return
	}
	if owner, ok := p.router.Owner(id); !ok || owner.ID != p.id || p.node.View() != v {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.shaping == nil || stampOf(p.shaping) != stampOf(v) { // looked at after the owner
		return
	}
	key := spawn{stampOf(v), id}
	other, known := w.ledger.spawned[key]
	w.ledger.spawned[key] = p
	w.checkLocked("S1", !known || other == p, func() string {
		return fmt.Sprintf("%s and %s both run %s by epoch %d", other.name, p.name, id.Key, v.Epoch())
	})
}

// checkMoved is S2 as an identity is activated, when nothing has gone wrong for C: whoever had it before, and is
// still there, has stopped it. It is under the lock.
func (w *world) checkMoved(g *cart) {
	if w.healed == 0 || w.now() < w.healed+converge {
		return
	}
	for _, p := range w.procs {
		if p == g.p || p.dead {
			continue
		}
		w.checkLocked("S2", p.running[g.id] == 0, func() string {
			return fmt.Sprintf("%s activates %s, which still runs on %s", g.p.name, g.id.Key, p.name)
		})
	}
}

// installed is told of each view by the node: S0 and S3.
func (p *process) installed(t core.Topology) {
	owners := make([]core.MemberID, len(p.w.ids))
	for i, id := range p.w.ids {
		if m, ok := p.router.Owner(id); ok {
			owners[i] = m.ID
		}
	}
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	old, before := p.view, p.owners
	p.view, p.owners = t.View, owners
	if w.now() > formed && w.healed == 0 {
		p.installs++
	}
	w.out.Edges["nodes.view.installed"]++
	p.eventLocked(viewed, t.View.Lineage(), t.View.Epoch(), t.View.Hash(), uint64(t.View.Len()))
	w.checkOrder(p, old, t.View)
	if !p.leaving { // the lookup may have stopped
		w.checkOwners(p, before, t)
	}
}

// checkOrder is S0: on one node the epoch never falls; one epoch of a lineage is one view.
func (w *world) checkOrder(p *process, old, v *core.View) {
	if old != nil {
		w.checkLocked("S0", v.Epoch() >= old.Epoch(), func() string {
			return fmt.Sprintf("%s installs epoch %d after %d", p.name, v.Epoch(), old.Epoch())
		})
	}
	known, seen := w.ledger.hashes[stampOf(v)]
	w.ledger.hashes[stampOf(v)] = v.Hash()
	if seen {
		w.checkLocked("S0", known == v.Hash(), func() string { return fmt.Sprintf("epoch %d has two hashes", v.Epoch()) })
	}
}

// checkOwners is S3: the owners by one hash are the same everywhere, and when one member goes only what is
// its own moves.
func (w *world) checkOwners(p *process, before []core.MemberID, t core.Topology) {
	known, seen := w.ledger.owners[t.View.Hash()]
	if !seen {
		w.ledger.owners[t.View.Hash()] = p.owners
	}
	left := len(t.Left) == 1 && len(t.Joined) == 0 && len(t.Changed) == 0 && before != nil
	for i, owner := range p.owners {
		if seen {
			w.checkLocked("S3", known[i] == owner, func() string {
				return fmt.Sprintf("%s has %s owned by %s, others by %s", p.name, w.ids[i].Key, owner, known[i])
			})
		}
		if left {
			w.checkLocked("S3", before[i] == owner || before[i] == t.Left[0].ID, func() string {
				return fmt.Sprintf("%s moves %s from %s to %s as %s leaves", p.name, w.ids[i].Key, before[i], owner, t.Left[0].ID)
			})
		}
	}
}

// deactivated is told by the node of the end of an activation.
func (p *process) deactivated(a core.Activation, why core.StopReason) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.ended++
	if why == core.StopMoved {
		p.w.out.Edges["nodes.activation.moved"]++
	}
	p.eventLocked("ends", a.Identity.Key) // not why: of two reasons at one instant which is said is chance
}

// again is told by the node of each further try of a call.
func (p *process) again(core.Identity, int, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.retried++
	p.w.out.Edges["nodes.call.again"]++
}

// handled is what a grain tells of a request that reached it: S7 and S10.
func (w *world) handled(ctx context.Context, g *cart, a ask) {
	turn, remote := grain.FromContext(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ledger.byNumber[a.Number]
	if r == nil || r.tell || !r.over { // whether one that was given up still runs, when both come at one instant, no seed can say
		g.p.eventLocked("handles", g.id.Key, a.Number)
	}
	w.checkLocked("S10", r != nil && r.p.id == a.From && r.to == g.id, func() string {
		return fmt.Sprintf("%s on %s got a request that was not sent to it", g.id.Key, g.p.name)
	})
	if r == nil {
		return
	}
	r.executed++
	r.ran = append(r.ran, g.token)
	w.checkCause(g, r)
	w.checkLocked("S7", r.idempotent || r.executed == 1, func() string {
		return fmt.Sprintf("a request of %s to %s ran %d times", r.p.name, g.id.Key, r.executed)
	})
	if !remote || turn.Peer.ID == "" {
		return
	}
	w.checkLocked("S10", turn.Peer.ID == a.From, func() string {
		return fmt.Sprintf("a request of %s came to %s over a connection of %s", a.From, g.p.name, turn.Peer.ID)
	})
	if since, blocked := g.p.blocked[turn.Peer.ID]; blocked && !g.p.released(turn.Peer.ID) {
		w.checkLocked("S10", r.began <= since, func() string {
			return fmt.Sprintf("%s was let in by %s, which had blocked it before it was called", turn.Peer.ID, g.p.name)
		})
	}
}

// released tells whether a member that was banned some time is not now, as p has it. It is under the lock.
func (p *process) released(id core.MemberID) bool {
	return p.w.ledger.banned[id] &&
		!slices.ContainsFunc(p.node.Blocked(), func(b cluster.BlockedMember) bool { return b.ID == id })
}

// checkCause is S1 for views that differ: whoever activates an identity for a request has at least the view of
// its sender, who has chosen the place by that. It is looked at where no other request can have been the cause. It
// is under the lock.
func (w *world) checkCause(g *cart, r *request) {
	first := !g.met
	g.met = true
	if !first || g.view.lineage != r.view.lineage || slices.Contains(w.ids[:slow], g.id) || !r.during(g.made) {
		return
	}
	if g.view.epoch < r.view.epoch && slices.ContainsFunc(w.ledger.requests, func(o *request) bool {
		return o.to == g.id && o != r && o.during(g.made)
	}) {
		return
	}
	w.checkLocked("S1", g.view.epoch >= r.view.epoch, func() string {
		return fmt.Sprintf("%s activated %s by epoch %d for a request of %s, sent by epoch %d", g.p.name, g.id.Key, g.view.epoch, r.p.name, r.view.epoch)
	})
}

// during tells whether a request was under way at some time. Messages may be for some time after their end, which is
// that of their sending.
func (r *request) during(at time.Duration) bool {
	return r.began <= at && (!r.over || r.tell || at <= r.ended)
}

// ended notes the end of a request: S6.
func (w *world) ended(r *request, activation uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.ended, r.over, r.err, r.activation, r.orphan = w.now(), true, err, activation, r.p.dead
	if r.orphan {
		return
	}
	if err == nil && !r.tell {
		w.checkLocked("S7", slices.Contains(r.ran, activation), func() string {
			return fmt.Sprintf("a call of %s by %s was answered by an activation that has not handled it", r.to.Key, r.p.name)
		})
	}
	delivery := core.DeliveryOf(err)
	r.p.eventLocked("call ends", r.to.Key, r.number, uint64(delivery), activation)
	switch {
	case err == nil:
		w.out.Edges["nodes.call.answered"]++
	case delivery == core.Undelivered:
		w.out.Edges["nodes.call.undelivered"]++
	default:
		w.out.Edges["nodes.call.unknown"]++
	}
	w.checkLocked("S6", r.ended <= r.began+r.limit+late, func() string {
		return fmt.Sprintf("a call of %s by %s took %v, its limit was %v", r.to.Key, r.p.name, r.ended-r.began, r.limit)
	})
	w.checkLocked("S6", err == nil || typed(err), func() string {
		return fmt.Sprintf("a call of %s by %s ended with an error of no type: %v", r.to.Key, r.p.name, err)
	})
}

// typed tells whether a program can tell what err is.
func typed(err error) bool {
	for _, sentinel := range []error{
		context.DeadlineExceeded, context.Canceled, core.ErrUnreachable, core.ErrStopped, core.ErrBusy, core.ErrNotOwner,
		core.ErrNoMember, core.ErrOverloaded, core.ErrEvicted, core.ErrUnsupported, core.ErrNoKind,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	var e *grain.Error
	return errors.As(err, &e)
}

// within waits until holds, up to a limit.
func (w *world) within(limit time.Duration, holds func() bool) bool {
	for end := w.now() + limit; w.now() < end; time.Sleep(20 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return holds()
}
