package membership

import (
	"github.com/granary-go/granary/core"
)

// Config is what a List judges by.
type Config struct {
	// Self is the member whose row is watched; empty for a client, which has none.
	Self core.MemberID
	// Ordered says that the provider's views carry a lineage and epochs that members can compare.
	Ordered bool
	// Strict makes the loss of the own row final under any lineage: Level 2 and above.
	Strict bool
}

// List holds the view that is installed. One goroutine owns it.
type List struct {
	cfg     Config
	view    *core.View // installed; nil before the first
	listed  bool       // the own row was seen in an installed view
	self    core.Member
	evicted bool
	retired retired
}

// New makes a List that has installed nothing.
func New(cfg Config) *List { return &List{cfg: cfg} }

// View is the installed view; nil before the first.
func (l *List) View() *core.View { return l.view }

// Outcome says what became of a report.
type Outcome uint8

// The outcomes.
const (
	Ignored   Outcome = iota // nothing new, or older than what is installed
	Held                     // not to be installed: a later report is awaited
	Revised                  // same ownership, newer revision: View is replaced, there is no topology
	Installed                // Topology leads from the view before to View
	Evicted                  // this node has lost its row for good; nothing is installed any more
)

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"ignored", "held", "revised", "installed", "evicted"}[o]
}

// Effect is what one report causes.
type Effect struct {
	Outcome  Outcome
	Topology core.Topology // with Installed; with Revised only its View is set
	// Retired lists members that a newer ID at the same address has replaced: their traffic is to
	// be refused. Ascending; each is told once.
	Retired []core.MemberID
	// Reason is why a report was held or the node evicted, for people.
	Reason string

	// What follows is filled by a Reducer; lists ascend.

	// Hash is Proto.Actor's hash of the members of the view, with Installed. Within Granary
	// View.Hash counts.
	Hash uint64
	// Banned lists all bans in force, with Installed.
	Banned []core.MemberID
	// Blocked lists members whose traffic is to be refused from now on: banned or retired. Each is
	// told once, and again only after Unblocked.
	Blocked []core.MemberID
	// Unblocked lists members whose traffic is to be let in again: their ban has ended.
	Unblocked []core.MemberID
	// Accused lists members that an eviction is to be proposed for, as they are refused and an
	// ordered view still lists them; and this member, once another has banned it.
	Accused []core.MemberID
	// Absolved lists those of the accused that are so no more.
	Absolved []core.MemberID
	// Missing lists members that the provider reports no more and the grace keeps in the view.
	Missing []core.MemberID
	// Returned lists those of the missing that were reported again in time.
	Returned []core.MemberID
	// Rejected tells of rows that nobody can reach, once each: left out of an unordered view, and
	// installed as they are in an ordered one.
	Rejected []Rejected
}

// Step takes one report of the provider. After Evicted every report is Ignored.
func (l *List) Step(report *core.View) Effect {
	switch {
	case report == nil || l.evicted:
		return Effect{}
	case l.cfg.Ordered:
		return l.ordered(report)
	default:
		return l.unordered(report)
	}
}

// ordered installs a report as it is, or finds that this node is out: an ordered view is never
// edited, since every member must have the same one under the same epoch.
func (l *List) ordered(report *core.View) Effect {
	order := core.Newer
	if l.view != nil {
		order = report.Compare(l.view)
	}
	if order == core.Older || order == core.Same {
		return Effect{}
	}
	if reason := l.lost(report, order); reason != "" {
		l.evicted = true
		return Effect{Outcome: Evicted, Reason: reason}
	}
	if reason := l.hold(report, order); reason != "" {
		return Effect{Outcome: Held, Reason: reason}
	}
	return l.install(report)
}

// lost tells why the report means that this node is evicted; empty if it does not.
func (l *List) lost(report *core.View, order core.Order) string {
	if l.cfg.Self == "" {
		return ""
	}
	_, listed := report.Member(l.cfg.Self)
	switch {
	case departed(report, l.cfg.Self):
		return "the view lists this member among the departed"
	case !l.listed:
		return "" // not stored yet
	case l.cfg.Strict && order == core.Foreign:
		return "the view does not follow from the one that this member's lease belongs to"
	case listed:
		return ""
	case l.cfg.Strict:
		return "the view does not list this member any more"
	case report.Lineage() == l.view.Lineage() && report.Epoch() >= l.view.Epoch():
		return "the view does not list this member any more"
	}
	return ""
}

// hold tells why a report that evicts nobody is not installed; empty if it is to be.
func (l *List) hold(report *core.View, order core.Order) string {
	_, listed := report.Member(l.cfg.Self)
	switch {
	case l.view == nil:
		return ""
	case report.Epoch() < l.view.Epoch():
		return "its epoch is lower than the one installed"
	case order == core.Foreign && l.listed && !listed:
		return "it is of another lineage, in which the provider has yet to store this member"
	}
	return ""
}

// install makes view the installed one.
func (l *List) install(view *core.View) Effect {
	old := l.view
	l.view = view
	if m, ok := view.Member(l.cfg.Self); ok && l.cfg.Self != "" {
		l.listed, l.self = true, m
	}
	replaced := l.retired.note(l.cfg.Self, old, view)
	if old != nil && old.Lineage() == view.Lineage() && old.Epoch() == view.Epoch() && old.Hash() == view.Hash() {
		return Effect{Outcome: Revised, Topology: core.Topology{View: view}, Retired: replaced}
	}
	return Effect{Outcome: Installed, Topology: core.Diff(old, view), Retired: replaced}
}

func departed(v *core.View, id core.MemberID) bool {
	for d := range v.Departed() {
		if d.ID == id {
			return true
		}
	}
	return false
}
