// Package strategy holds the choices among hosts that Granary brings: Rendezvous (the default),
// RoundRobin, LocalFirst and LeastActivations; and Avoid, by which the engine keeps any of them from
// suspects. They allocate nothing and are safe for concurrent use.
package strategy

import (
	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/rendezvous"
)

// Rendezvous picks the candidate with the highest random weight for the identity: the same one on
// every member, a share of identities by weight, and as few moves as possible when candidates come
// and go. The zero value is ready.
type Rendezvous struct{}

// Pick depends on the identity and on the IDs and weights of the candidates only.
func (Rendezvous) Pick(id core.Identity, candidates []core.Member) (core.Member, bool) {
	hash := rendezvous.Identity(id.Kind, id.Key)
	var c rendezvous.Choice
	for i := range candidates {
		m := &candidates[i]
		c.Offer(i, string(m.ID), rendezvous.Member(string(m.ID)), m.Weight, hash)
	}
	i, ok := c.Best()
	if !ok {
		return core.Member{}, false
	}
	return candidates[i], true
}

var _ core.Strategy = Rendezvous{}
