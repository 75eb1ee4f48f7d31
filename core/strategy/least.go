package strategy

import (
	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/rendezvous"
)

// LeastActivations picks a candidate that runs the fewest activations of the kind for its weight, as
// last gossiped. Candidates within an eighth of the fewest count as equal, and so do those whose load is
// not known: among equals it picks what Rendezvous picks, so that what is placed between two rounds of
// gossip does not all go to one member. It fits kinds whose activations are heavy, under a lookup that
// keeps a directory. The zero value is what a kind is given: the engine fills in the loads, by Under.
// Without them, it is Rendezvous.
type LeastActivations struct{ loads core.Loads }

// Under is the strategy that heeds loads.
func (LeastActivations) Under(loads core.Loads) core.Strategy { return LeastActivations{loads: loads} }

// Pick depends on the identity, the candidates, and their loads at the moment.
func (l LeastActivations) Pick(id core.Identity, candidates []core.Member) (core.Member, bool) {
	if l.loads == nil {
		return Rendezvous{}.Pick(id, candidates)
	}
	most := l.most(id.Kind, candidates)
	hash := rendezvous.Identity(id.Kind, id.Key)
	var c rendezvous.Choice
	for i := range candidates {
		m := &candidates[i]
		if load, known := l.load(m, id.Kind); !known || load <= most {
			c.Offer(i, string(m.ID), rendezvous.Member(string(m.ID)), m.Weight, hash)
		}
	}
	i, ok := c.Best()
	if !ok { // nobody is a candidate, or all loads have grown meanwhile
		return Rendezvous{}.Pick(id, candidates)
	}
	return candidates[i], true
}

// most is the highest load that still counts as the least.
func (l LeastActivations) most(kind string, candidates []core.Member) float64 {
	least, some := 0.0, false
	for i := range candidates {
		if load, known := l.load(&candidates[i], kind); known && (!some || load < least) {
			least, some = load, true
		}
	}
	return least * 9 / 8
}

// load is what m runs for each hundredth of weight; Weight 0 means 100.
func (l LeastActivations) load(m *core.Member, kind string) (load float64, known bool) {
	n, ok := l.loads.Load(m.ID, kind)
	weight := m.Weight
	if weight == 0 {
		weight = 100
	}
	return float64(max(n, 0)) / float64(weight), ok
}

var (
	_ core.Strategy     = LeastActivations{}
	_ core.LoadStrategy = LeastActivations{}
)
