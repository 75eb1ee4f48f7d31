// Package disthash is an identity lookup without a directory: the owner of an identity is computed
// from the members of the installed view, and its activation runs there.
//
// Applications make a Lookup with New (or with Set, under google/wire) and hand it to
// cluster.Components; they call nothing else of it.
//
// # What it promises
//
// Level 0: one activation of an identity in a view that all members have. While views differ, two
// may overlap, since two members may each hold themselves for the owner. Tokens are zero and order
// nothing. A kind's own strategy is not asked, so the engine refuses one.
//
// # How it works
//
// The owner is chosen by rendezvous hashing over the members that are Up and list the kind, weighted
// by Member.Weight: every member computes the same one, and when a member comes or goes only the
// identities move that it gets or had. With Config.Compat the hash is that of Proto.Actor.
//
// Since Lookup is a core.Router, the engine sends a call to the owner without asking first. Resolve
// activates what this member owns, and asks the owner for the rest; a member that was asked and is
// not the owner names the one that it holds for it, and that one is asked, once.
//
// # When the view changes
//
// Each member stops the activations that it no longer owns, many at a time, each after the calls
// that it had accepted. The member that owns them now waits for that: it is a core.Holder, and asks
// each member that it may have inherited from to answer when it is settled in the same view. Until
// then calls to such an identity are told to try again. Who does not answer within
// Config.HandoverTimeout is waited for no longer; who is in the view no more, not at all. Identities
// that did not move are never held.
package disthash
