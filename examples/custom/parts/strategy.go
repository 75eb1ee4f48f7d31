package parts

import (
	"strings"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/strategy"
)

// ByTenant puts all identities of a tenant on one member: of "acme/alice" and "acme/bob" the tenant is "acme".
type ByTenant struct{}

// Pick takes the member that rendezvous gives the tenant.
func (ByTenant) Pick(id core.Identity, candidates []core.Member) (core.Member, bool) {
	id.Key, _, _ = strings.Cut(id.Key, "/")
	return strategy.Rendezvous{}.Pick(id, candidates)
}
