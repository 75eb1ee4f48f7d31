package strategy

import "github.com/granary-go/granary/core"

// Avoid lets another strategy pick among the candidates that are not suspected to be dead; among all, if
// every one is. It allocates only while a candidate is suspected.
type Avoid struct {
	Strategy  core.Strategy
	Suspected func(core.MemberID) bool // safe for concurrent use; nil: nobody is
}

// Pick is what Strategy picks among those who are not suspected.
func (a Avoid) Pick(id core.Identity, candidates []core.Member) (core.Member, bool) {
	if rest := a.rest(candidates); len(rest) > 0 {
		candidates = rest
	}
	return a.Strategy.Pick(id, candidates)
}

// rest are the candidates that are not suspected: the same slice, if all are not.
func (a Avoid) rest(candidates []core.Member) []core.Member {
	if a.Suspected == nil {
		return candidates
	}
	for i, m := range candidates {
		if a.Suspected(m.ID) {
			return a.without(candidates, i)
		}
	}
	return candidates
}

func (a Avoid) without(candidates []core.Member, first int) []core.Member {
	rest := append(make([]core.Member, 0, len(candidates)-1), candidates[:first]...)
	for _, m := range candidates[first+1:] {
		if !a.Suspected(m.ID) {
			rest = append(rest, m)
		}
	}
	return rest
}

var _ core.Strategy = Avoid{}
