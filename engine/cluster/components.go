package cluster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/strategy"
	"github.com/granary-go/granary/engine/grain"
)

// Components are the parts of a node, one field a role.
type Components struct {
	Provider     core.Provider    // who is in the cluster; required
	Lookup       core.Lookup      // where an identity lives; required
	Kinds        grain.Kinds      // what this member hosts; none: it hosts nothing
	Services     grain.Services   // parts that bring kinds and processes of their own
	State        grain.StateStore // where grains keep state; may be nil
	Interceptors grain.Interceptors
	Telemetry    Telemetry

	alone *memory.Provider `wire:"-"` // of Single: it shows nobody but its own member
}

// Telemetry is one role: what plug-ins report and what the engine sees. The zero value sees nothing.
type Telemetry struct {
	Hooks    core.Hooks
	Observer grain.Observer
}

// Single gives the components of a node that is alone in its process: provider, lookup and store of
// a memory.Hub of its own.
func Single(kinds ...grain.Kind) Components {
	hub := memory.NewHub()
	members := hub.Provider()
	return Components{Provider: members, Lookup: hub.Lookup(), State: hub.Store(), Kinds: kinds, alone: members}
}

// checkAlone refuses what would wait for others for ever.
func (p Components) checkAlone(cfg Config) error {
	members, ok := p.Provider.(*memory.Provider)
	if !ok || members != p.alone {
		return nil
	}
	const way = "Single is alone in its process, so nobody would ever be seen; give Components the Provider and the Lookup of the cluster"
	switch {
	case cfg.Client:
		return fmt.Errorf("cluster: a client of Single: %s: %w", way, core.ErrInvalid)
	case cfg.MinMembers > 1:
		return fmt.Errorf("cluster: MinMembers %d with Single: %s: %w", cfg.MinMembers, way, core.ErrInvalid)
	}
	return nil
}

// kinds makes the runtime form of all kinds, those of services included, and complains about what
// the parts cannot back.
func (p Components) kinds(client bool) (map[string]*kind, error) {
	var errs []error
	for i, s := range p.Services {
		if s == nil {
			errs = append(errs, fmt.Errorf("cluster: service %d is nil: %w", i, core.ErrInvalid))
		}
	}
	all := p.allKinds()
	kinds := map[string]*kind{}
	for _, k := range all {
		if err := k.Check(); err != nil {
			errs = append(errs, fmt.Errorf("cluster: %w", err))
			continue
		}
		if kinds[k.Name] != nil {
			errs = append(errs, fmt.Errorf("cluster: two kinds are named %q; rename one: %w", k.Name, core.ErrInvalid))
			continue
		}
		kinds[k.Name] = newKind(k)
	}
	if client && len(all) > 0 {
		errs = append(errs, fmt.Errorf("cluster: a client hosts nothing, but has %d kinds; leave them out: %w", len(all), core.ErrInvalid))
	}
	return kinds, errors.Join(errs...)
}

// allKinds are those of the application and of its services.
func (p Components) allKinds() []grain.Kind {
	all := slices.Clone([]grain.Kind(p.Kinds))
	for _, s := range p.Services {
		if s != nil {
			all = append(all, s.Kinds()...)
		}
	}
	return all
}

// check holds what the parts promise against what they need.
func (p Components) check() error {
	var errs []error
	if p.Provider == nil {
		errs = append(errs, fmt.Errorf("cluster: Provider is missing: say who is in the cluster, or use Single: %w", core.ErrInvalid))
	}
	if p.Lookup == nil {
		errs = append(errs, fmt.Errorf("cluster: Lookup is missing: say where identities live, or use Single: %w", core.ErrInvalid))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	promises := p.Provider.Promises()
	if promises.Compat {
		errs = append(errs, fmt.Errorf("cluster: the provider %T writes rows for Proto.Actor members, with which this version does not talk: %w", p.Provider, core.ErrUnsupported))
	}
	if r, ok := p.Lookup.(core.Requirer); ok {
		for _, lack := range missing(r.Requires(), promises) {
			errs = append(errs, fmt.Errorf("cluster: the lookup %T needs a provider that is %s; %T is not: %w", p.Lookup, lack, p.Provider, core.ErrUnsupported))
		}
	}
	for _, k := range p.allKinds() {
		errs = append(errs, p.checkKind(k, promises))
	}
	return errors.Join(errs...)
}

// missing names the promises of want that have does not give.
func missing(want, have core.Promises) []string {
	var out []string
	for _, p := range []struct {
		want, have bool
		name       string
	}{
		{want.Ordered, have.Ordered, "ordered"},
		{want.Linearizable, have.Linearizable, "linearizable"},
		{want.Leases, have.Leases, "able to keep leases"},
	} {
		if p.want && !p.have {
			out = append(out, p.name)
		}
	}
	return out
}

// checkKind refuses a kind that asks for more than the parts offer.
func (p Components) checkKind(k grain.Kind, promises core.Promises) error {
	_, routes := p.Lookup.(core.Router)
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("cluster: kind %q: "+format+": %w", append(append([]any{k.Name}, args...), core.ErrUnsupported)...))
	}
	if routes && !isRendezvous(k.Strategy) {
		refuse("it has the strategy %T, but under the lookup %T the owner of an identity is its host, which is what strategy.Rendezvous picks; leave Strategy out, or take another lookup", k.Strategy, p.Lookup)
	}
	switch {
	case k.Level == grain.Level0:
	case k.Level > grain.Level1:
		refuse("it asks for Level %d; this version keeps no leases and fences no stores, so it offers Level 1 at most", k.Level)
	case routes:
		refuse("it asks for Level %d, the lookup %T offers Level 0", k.Level, p.Lookup)
	default:
		for _, lack := range missing(core.Promises{Ordered: true, Linearizable: true}, promises) {
			refuse("Level %d needs a provider that is %s; %T is not", k.Level, lack, p.Provider)
		}
	}
	return errors.Join(errs...)
}

// isRendezvous reports whether s places as ownership does.
func isRendezvous(s core.Strategy) bool {
	_, same := s.(strategy.Rendezvous)
	return s == nil || same
}

// bindStrategies tells the strategies that depend on it which member this is, and what the others run,
// and keeps them all from suspects.
func (n *Node) bindStrategies() {
	n.anyKind = n.bound(nil)
	for _, k := range n.kinds {
		k.Strategy = n.bound(k.Strategy)
	}
}

func (n *Node) bound(s core.Strategy) core.Strategy {
	if s == nil {
		s = strategy.Rendezvous{}
	}
	if local, ok := s.(core.LocalStrategy); ok {
		s = local.For(n.id)
	}
	if load, ok := s.(core.LoadStrategy); ok {
		s = load.Under(n.gossip)
	}
	return strategy.Avoid{Strategy: s, Suspected: n.suspected}
}

// strategyOf is the kind's choice among hosts; never nil.
func (n *Node) strategyOf(name string) core.Strategy {
	if k := n.kinds[name]; k != nil {
		return k.Strategy
	}
	return n.anyKind
}
