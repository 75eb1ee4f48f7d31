// Package rendezvous holds the one hash by which all members agree: a mixed 64-bit hash of strings,
// and highest-random-weight (rendezvous) choice among members (Thaler and Ravishankar, 1998).
//
// It is used by package core for the hash of a view, by core/strategy and by the lookups. Both are
// fixed by protocol 1 and held by golden vectors; a change would split a cluster in two.
package rendezvous
