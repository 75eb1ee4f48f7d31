package core

// Strategy picks a host for an identity. candidates is sorted by ID, shared, and not to be
// modified; false only if it is empty. No I/O, no clock; safe for concurrent use; the only memory
// allowed is a counter (round robin). Applications may implement it; StrategyFunc helps.
type Strategy interface {
	Pick(id Identity, candidates []Member) (Member, bool)
}

// LocalStrategy is offered by strategies that depend on the member that picks. The engine calls For
// once, when its member's ID is drawn, and uses what it returns in its place.
type LocalStrategy interface{ For(self MemberID) Strategy }

// LoadStrategy is offered by strategies that heed how much the candidates run. The engine calls Under
// once, after For where there is one, and uses what it returns in its place.
type LoadStrategy interface{ Under(loads Loads) Strategy }

// Loads is what a member knows of how much the others run. Implemented by engine/cluster; safe for
// concurrent use; returns at once and allocates nothing.
type Loads interface {
	// Load is how many activations of kind the member runs, as last gossiped: a few hundred
	// milliseconds old. False: it is not known, so nothing follows from the number.
	Load(m MemberID, kind string) (activations int64, ok bool)
}

// StrategyFunc is a function that is a Strategy.
type StrategyFunc func(id Identity, candidates []Member) (Member, bool)

// Pick calls f.
func (f StrategyFunc) Pick(id Identity, c []Member) (Member, bool) { return f(id, c) }
