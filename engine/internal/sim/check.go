package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// invariants are those that this world evaluates, as the project's documents number them.
var invariants = []string{"S0", "S1", "S2", "S3", "S4", "S6", "S7", "S8", "S10", "L1", "L2", "L3", "L4", "L7", "L9", "R5"}

// ledger is what the checks remember.
type ledger struct {
	hashes   map[stamp]uint64 // of views, by lineage and epoch
	spawned  map[spawn]core.MemberID
	owners   map[uint64][]core.MemberID // of all identities, by hash of the view
	requests []*request
	changes  []time.Duration  // when views were installed, by anybody
	written  map[write]string // gossip, as its owner wrote it
	said     map[saying]bool  // the same, by what it says
	removed  map[saying]bool  // keys that a member has removed some time
	wrapLink func(*link)
}

type spawn struct {
	view stamp
	id   core.Identity
}

type write struct {
	owner   core.MemberID
	version uint64
}

// saying is a value that a member has had under a key.
type saying struct {
	owner      core.MemberID
	key, value string
}

// heard is the last message that arrived from a member.
type heard struct{ epoch, seq uint64 }

func (l *ledger) init() {
	l.hashes, l.spawned = map[stamp]uint64{}, map[spawn]core.MemberID{}
	l.owners, l.written = map[uint64][]core.MemberID{}, map[write]string{}
	l.said, l.removed = map[saying]bool{}, map[saying]bool{}
}

// checkInstall is S0: on one node the epoch never falls; one epoch of a lineage is one view.
func (w *world) checkInstall(n *node, t core.Topology) {
	v := t.View
	w.ledger.changes = append(w.ledger.changes, w.heap.Now())
	if w.heap.Now() > formed && w.healed == 0 {
		n.installs++
	}
	if n.view != nil {
		w.check("S0", v.Epoch() >= n.view.Epoch(), func() string {
			return fmt.Sprintf("%s installs epoch %d after %d", n.id, v.Epoch(), n.view.Epoch())
		})
	}
	if v.Lineage() == "" {
		return
	}
	key := stamp{lineage: v.Lineage(), epoch: v.Epoch()}
	known, seen := w.ledger.hashes[key]
	w.ledger.hashes[key] = v.Hash()
	if seen {
		w.check("S0", known == v.Hash(), func() string {
			return fmt.Sprintf("epoch %d of lineage %s has two hashes", v.Epoch(), v.Lineage())
		})
	}
}

// checkOwners is S3: the owners by one hash are the same everywhere, and when one member comes or goes
// only what is its own moves.
func (w *world) checkOwners(n *node, old *core.View, t core.Topology) {
	owners := make([]core.MemberID, len(w.ids))
	for i, id := range w.ids {
		if m, ok := n.own.Owner(id); ok {
			owners[i] = m.ID
		}
	}
	known, seen := w.ledger.owners[t.View.Hash()]
	w.ledger.owners[t.View.Hash()] = owners
	for i := range owners {
		if seen {
			w.check("S3", known[i] == owners[i], func() string {
				return fmt.Sprintf("%s says that %s owns %s, another said %s", n.id, owners[i], w.ids[i].Key, known[i])
			})
		}
	}
	if old == nil || len(t.Changed) > 0 || len(t.Joined)+len(t.Left) != 1 {
		return
	}
	before, ok := w.ledger.owners[old.Hash()]
	if !ok {
		return
	}
	for i := range owners {
		if before[i] == owners[i] || before[i] == "" || owners[i] == "" {
			continue
		}
		came := len(t.Joined) == 1 && owners[i] == t.Joined[0].ID
		went := len(t.Left) == 1 && before[i] == t.Left[0].ID
		w.check("S3", came || went, func() string {
			return fmt.Sprintf("%s moved from %s to %s when another came or went", w.ids[i].Key, before[i], owners[i])
		})
	}
}

// checkSpawn is S1: of one view, one member at most runs an identity.
func (w *world) checkSpawn(n *node, a *activation) {
	key := spawn{stampOf(n.view), a.id}
	if key.view.lineage == "" {
		key.view.epoch = 0 // counted by each member for itself
	}
	before, spawned := w.ledger.spawned[key]
	w.ledger.spawned[key] = n.id
	w.check("S1", !spawned || before == n.id, func() string {
		return fmt.Sprintf("%s was activated by %s and by %s under one view", a.id.Key, before, n.id)
	})
}

// checkExecuted is the half of S7 about running twice.
func (w *world) checkExecuted(r *request) {
	w.check("S7", r.idempotent || r.executed <= 1, func() string {
		return fmt.Sprintf("call %d of %s ran %d times", r.number, r.to.Key, r.executed)
	})
	if r.over {
		w.checkUndelivered(r)
	}
}

// checkUndelivered is the other half: what is said not to have run has not, and will not.
func (w *world) checkUndelivered(r *request) {
	if r.err != nil && core.DeliveryOf(r.err) == core.Undelivered {
		w.check("S7", r.executed == 0, func() string {
			return fmt.Sprintf("call %d of %s ran and ended with %v, not delivered", r.number, r.to.Key, r.err)
		})
	}
}

// checkOutcome is S6: one outcome, typed, in time.
func (w *world) checkOutcome(r *request, err error) {
	w.check("S6", !r.over, func() string { return fmt.Sprintf("call %d ends twice: %v, then %v", r.number, r.err, err) })
	late := w.heap.Now() - r.began - r.limit*9/8 // clocks may run slow
	paused := r.n.lastHalt > r.began
	w.check("S6", paused || late <= 50*time.Millisecond, func() string { return fmt.Sprintf("call %d ends %v late", r.number, late) })
	typed := err == nil || errors.Is(err, errDeadline)
	for _, s := range []error{core.ErrUnreachable, core.ErrBusy, core.ErrNotOwner, core.ErrNoMember} {
		typed = typed || errors.Is(err, s)
	}
	w.check("S6", typed || errors.Is(err, errDeadLetter), func() string { return fmt.Sprintf("call %d ends with %v", r.number, err) })
}

// checkDeadMet is L2: one request meets one dead place once.
func (w *world) checkDeadMet(r *request) {
	w.check("L2", r.met[r.pid] <= 1, func() string {
		return fmt.Sprintf("call %d of %s met %s %d times", r.number, r.to.Key, r.pid.ID, r.met[r.pid])
	})
}

// checkCache is L2 at a view: nothing is remembered at members that are not in it.
func (w *world) checkCache(n *node) {
	for _, id := range w.ids {
		w.checkPlace(n, id)
	}
}

// checkPlace is the same for one identity.
func (w *world) checkPlace(n *node, id core.Identity) {
	e, ok := n.cache.Get(id)
	if !ok {
		return
	}
	_, listed := n.view.Member(e.PID.Member)
	w.check("L2", listed, func() string {
		return fmt.Sprintf("%s remembers %s at %s, which is not in its view", n.id, id.Key, e.PID.Member)
	})
}

// checkArrival is S8: in order and without gaps within an epoch, and nothing of an older one after.
func (w *world) checkArrival(n *node, c *conn, seq uint64) {
	last := n.heard[c.from.id]
	n.heard[c.from.id] = heard{c.epoch, seq}
	ok := c.epoch == last.epoch && seq == last.seq+1 || c.epoch > last.epoch && seq == 1
	w.check("S8", ok, func() string {
		return fmt.Sprintf("message %d of connection %d of %s arrives after %d of %d", seq, c.epoch, c.from.id, last.seq, last.epoch)
	})
}

// checkForeign is S10: what arrives is for this process, and its sender was not replaced by another
// at its address, as far as this one knows.
func (w *world) checkForeign(n *node, from *node, b body) {
	w.check("S10", b.target == n.id, func() string { return fmt.Sprintf("a message for %s reaches %s", b.target, n.id) })
	w.check("S10", !n.blocked[from.id], func() string { return fmt.Sprintf("a message of %s reaches %s, which refuses it", from.id, n.id) })
	if n.view == nil {
		return
	}
	for m := range n.view.All() {
		w.check("S10", m.Address != from.m.address || m.ID == from.id, func() string {
			return fmt.Sprintf("%s takes a message of %s, in whose place it knows %s", n.id, from.id, m.ID)
		})
	}
}

// checkChanged is S10 for gossip: what is believed of a member, it has written.
func (w *world) checkChanged(n *node, e gossip.Changed, foreign bool) {
	key := write{e.Member, e.Version}
	text := e.Key + "=" + string(e.Value.Data)
	w.check("S10", e.Member != n.id || !foreign, func() string {
		return fmt.Sprintf("%s believes of another what it has said itself: %q, version %d", n.id, text, e.Version)
	})
	if e.Member == n.id {
		w.ledger.written[key] = text
		w.ledger.said[saying{e.Member, e.Key, string(e.Value.Data)}] = true
		return
	}
	w.check("S10", w.ledger.written[key] == text, func() string {
		return fmt.Sprintf("%s believes %q of %s, version %d, which that has not written", n.id, text, e.Member, e.Version)
	})
}

// checkWithdrawn is S10 for what a member says no more: it has removed it.
func (w *world) checkWithdrawn(n *node, e gossip.Withdrawn) {
	what := saying{owner: e.Member, key: e.Key}
	if e.Member == n.id {
		w.ledger.removed[what] = true
		return
	}
	w.edge("gossip.withdrawn")
	w.check("S10", w.ledger.removed[what], func() string {
		return fmt.Sprintf("%s believes that %s has removed %s, which that never did", n.id, e.Member, e.Key)
	})
}

// checkAgreements is S0 for consensus: all members of the present view have said what they are said to agree on.
func (w *world) checkAgreements(n *node) {
	for _, c := range checks {
		value, agreed := n.talk.state.Agreed(c.name)
		if !agreed || n.view == nil {
			continue
		}
		v, _ := value.(uint64)
		for m := range n.view.All() {
			w.check("S0", w.ledger.said[saying{m.ID, c.key, string(number(v).Data)}], func() string {
				return fmt.Sprintf("%s finds that all agree on %s %x, which %s never said", n.id, c.name, v, m.ID)
			})
		}
	}
}
