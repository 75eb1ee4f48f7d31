package core

// Strategy picks a host for an identity. candidates is sorted by ID, shared, and not to be
// modified; false only if it is empty. No I/O, no clock; safe for concurrent use; the only memory
// allowed is a counter (round robin). Applications may implement it; StrategyFunc helps.
type Strategy interface {
	Pick(id Identity, candidates []Member) (Member, bool)
}

// StrategyFunc is a function as a Strategy.
type StrategyFunc func(id Identity, candidates []Member) (Member, bool)

// Pick calls f.
func (f StrategyFunc) Pick(id Identity, c []Member) (Member, bool) { return f(id, c) }
