package membership

import (
	"slices"

	"github.com/granary-go/granary/core"
)

// unordered makes a view of this node's own out of the report: members that were replaced at their
// address are left out, the own row stays once it was there (the provider registers it again), and
// the epoch counts this node's installs. Such a view is compared between members by its hash only.
func (l *List) unordered(report *core.View) Effect {
	rec := core.ViewRecord{Epoch: 1}
	if l.view != nil {
		rec.Epoch = l.view.Epoch() + 1
	}
	for m := range report.All() {
		if !l.retired.has(m.ID) {
			rec.Members = append(rec.Members, m)
		}
	}
	if _, listed := report.Member(l.cfg.Self); l.listed && !listed {
		rec.Members = append(rec.Members, l.self)
	}
	replaced := l.retired.find(l.cfg.Self, l.view, rec.Members)
	rec.Members = slices.DeleteFunc(rec.Members, func(m core.Member) bool { return l.retired.has(m.ID) })
	view, err := core.NewView(rec)
	if err != nil {
		// The members are those of a view that was checked, so only a provider's bug leads here.
		return Effect{Outcome: Held, Reason: err.Error(), Retired: replaced}
	}
	if l.view != nil && view.Hash() == l.view.Hash() && sameAddresses(view, l.view) {
		return Effect{Retired: replaced}
	}
	effect := l.install(view)
	effect.Retired = replaced
	return effect
}

func sameAddresses(a, b *core.View) bool {
	for m := range a.All() {
		if o, ok := b.Member(m.ID); !ok || o.Address != m.Address || o.Protocol != m.Protocol {
			return false
		}
	}
	return a.Len() == b.Len()
}
