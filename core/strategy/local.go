package strategy

import (
	"slices"
	"strings"

	"github.com/granary-go/granary/core"
)

// LocalFirst picks the member that asks whenever it is a candidate, and else what Rendezvous picks.
// It fits grains that serve the member they were first called on. The zero value is what a kind is
// given: the engine fills in Self, by For. Without it, it is Rendezvous.
type LocalFirst struct {
	Self core.MemberID // of the member that runs this strategy
}

// For is the strategy of the member self.
func (l LocalFirst) For(self core.MemberID) core.Strategy { return LocalFirst{Self: self} }

// Pick is Self if it is a candidate.
func (l LocalFirst) Pick(id core.Identity, candidates []core.Member) (core.Member, bool) {
	i, found := slices.BinarySearchFunc(candidates, l.Self, compareID)
	if found {
		return candidates[i], true
	}
	return Rendezvous{}.Pick(id, candidates)
}

func compareID(m core.Member, id core.MemberID) int {
	return strings.Compare(string(m.ID), string(id))
}

var (
	_ core.Strategy      = LocalFirst{}
	_ core.LocalStrategy = LocalFirst{}
)
