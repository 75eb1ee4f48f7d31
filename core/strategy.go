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

// StrategyFunc is a function that is a Strategy.
type StrategyFunc func(id Identity, candidates []Member) (Member, bool)

// Pick calls f.
func (f StrategyFunc) Pick(id Identity, c []Member) (Member, bool) { return f(id, c) }
