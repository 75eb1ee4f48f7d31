//go:build !race

// One goroutine runs a world, and the detector would only make all this slow.

package main

import (
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/internal/membership"
	"github.com/granary-go/granary/engine/internal/retry"
)

// The machines with a mistake put around them.
type (
	lateReducer struct { // installs an early view again
		reducer
		first *membership.Effect
		steps int
	}
	deafReducer    struct{ reducer } // hears no report
	greedyOwner    struct{ ownership }
	clingingOwner  struct{ ownership }
	hesitantOwner  struct{ ownership }
	hoardingOwner  struct{ ownership }
	wanderingOwner struct {
		ownership
		n *node
	}
)

func (r *lateReducer) Step(now time.Time, in membership.Input) membership.Effect {
	e := r.reducer.Step(now, in)
	if e.Outcome != membership.Installed {
		return e
	}
	if r.first == nil {
		r.first = &e
	}
	if r.steps++; r.steps%5 == 0 {
		return *r.first
	}
	return e
}

func (deafReducer) Step(time.Time, membership.Input) membership.Effect { return membership.Effect{} }

// gullible takes what anybody says of others for passed on.
type gullible struct{ gossiper }

func (g gullible) Step(now time.Time, in gossip.Input, out []gossip.Effect) []gossip.Effect {
	if r, ok := in.(gossip.Received); ok && len(r.Request.Entries) == 1 && !r.Request.Entries[0].Relayed {
		request := *r.Request
		request.Entries = []gossip.Entry{request.Entries[0]}
		request.Entries[0].Relayed = true
		in = gossip.Received{From: r.From, Request: &request}
	}
	return g.gossiper.Step(now, in, out)
}

// Owner and the rest claim one identity for whoever asks.
func (o greedyOwner) mine(id core.Identity) bool { return id.Key == "k3" }

func (o greedyOwner) Owns(id core.Identity) bool { return o.mine(id) || o.ownership.Owns(id) }
func (o greedyOwner) Held(id core.Identity) bool { return !o.mine(id) && o.ownership.Held(id) }

func (clingingOwner) Owns(core.Identity) bool { return true }
func (hoardingOwner) Tables() int             { return 1000 }

// Held keeps one identity back for ever.
func (o hesitantOwner) Held(id core.Identity) bool { return id.Key == "k3" || o.ownership.Held(id) }

func (o wanderingOwner) Owner(id core.Identity) (core.Member, bool) {
	if id.Key == "k3" && o.n.m.index == 1 {
		return core.Member{ID: o.n.id}, true
	}
	return o.ownership.Owner(id)
}

// stubborn tries again what may have run; blind never forgets where nobody is.
func stubborn(err error, answered bool, attempt int, _ retry.Policy, random func() float64) retry.Verdict {
	return retry.Judge(err, answered, attempt, retry.Policy{Idempotent: true}, random)
}

func blind(err error, answered bool, attempt int, p retry.Policy, random func() float64) retry.Verdict {
	v := retry.Judge(err, answered, attempt, p, random)
	v.Forget = false
	return v
}

// claim has a node hold itself for the owner of one identity, and so run it.
type claim struct {
	greedyOwner
	n *node
}

func (o claim) Owner(id core.Identity) (core.Member, bool) {
	if o.mine(id) {
		return core.Member{ID: o.n.id}, true
	}
	return o.ownership.Owner(id)
}

// planted are mistakes by the invariant that finds them.
var planted = map[string]func(n *node){
	"S0": func(n *node) { n.reducer = &lateReducer{reducer: n.reducer} },
	"S1": func(n *node) { n.own = claim{greedyOwner{n.own}, n} },
	"S2": func(n *node) { n.own = clingingOwner{n.own} },
	"S3": func(n *node) { n.own = wanderingOwner{n.own, n} },
	"S4": func(n *node) { n.own = claim{greedyOwner{n.own}, n} },
	"S6": func(n *node) {
		n.proc.After(5*time.Second, func() {
			for _, r := range n.w.ledger.requests {
				if r.over && r.n == n {
					r.finish(answer{})
					return
				}
			}
		})
	},
	"S7": func(n *node) { n.judge = stubborn },
	"S8": func(n *node) {
		n.proc.Every(time.Second, time.Second, func() {
			for _, l := range n.linksInOrder() {
				if l.cur != nil {
					l.cur.seq++
				}
			}
		})
	},
	"S10": func(n *node) { n.talk.gossip = gullible{n.talk.gossip} },
	"L1":  func(n *node) { n.own = hesitantOwner{n.own} },
	"L2":  func(n *node) { n.judge = blind },
	"L3": func(n *node) {
		n.proc.After(20*time.Second, func() { n.reducer = deafReducer{n.reducer} })
	},
	"L4": func(n *node) {
		if n.w.healed > 0 {
			n.reducer = deafReducer{n.reducer}
		}
	},
	"L7": func(n *node) {
		n.reducer = membership.NewReducer(membership.ReducerConfig{Config: membership.Config{Self: n.id, Ordered: n.w.ordered}})
	},
	"L9": func(n *node) {
		n.proc.Every(700*time.Millisecond, 700*time.Millisecond, func() {
			n.row.Weight ^= 1
			n.session.Update(n.row)
		})
	},
	"R5": func(n *node) { n.own = hoardingOwner{n.own} },
}

// Every invariant that is listed can fail, and a failure is shrunk and replayed.
func TestPlantedMistakesAreFound(t *testing.T) {
	for _, invariant := range invariants {
		t.Run(invariant, func(t *testing.T) {
			wrap := planted[invariant]
			if wrap == nil {
				t.Fatal("nobody has shown that this invariant can fail")
			}
			e := engine(wrap)
			seed, ok := hits(e, invariant)
			if !ok {
				t.Fatal("not found")
			}
			v := e.Shortest(sim.Violation{Seed: seed, Invariant: invariant}, 4)
			whole := sim.NewSchedule(seed, e.Plan)
			if !v.Replayed || v.Detail == "" || v.Keep == nil || len(v.Keep) == len(whole.Faults) && len(v.Keep) > 8 {
				t.Errorf("%+v", v)
			}
			if again := e.Run(whole.Only(v.Keep), false); !has(again, invariant) {
				t.Errorf("the shortest schedule does not fail again")
			}
		})
	}
}

func hits(e sim.Engine, invariant string) (seed uint64, ok bool) {
	for seed := range uint64(150) {
		if has(e.Run(sim.NewSchedule(seed+1, e.Plan), false), invariant) {
			return seed + 1, true
		}
	}
	return 0, false
}
