package core

import (
	"cmp"
	"fmt"
)

// Token orders the activations of one identity. From Level 1 up it is the fencing token: strictly
// greater for every new activation, across owners and restarts. The zero Token is smaller than all
// others and orders nothing.
type Token struct{ Epoch, Seq uint64 }

// Compare returns -1, 0 or +1. Token.String is 32 hex digits, so text order is token order; stores
// compare the text, because a script language may hold numbers as floating point.
func (t Token) Compare(o Token) int {
	return cmp.Or(cmp.Compare(t.Epoch, o.Epoch), cmp.Compare(t.Seq, o.Seq))
}

// String is 32 hex digits, so that the order of texts is the order of tokens.
func (t Token) String() string { return fmt.Sprintf("%016x%016x", t.Epoch, t.Seq) }

// IsZero reports whether t is the zero Token, which orders nothing.
func (t Token) IsZero() bool { return t == Token{} }

// Placement is where an identity lives: what a Lookup answers and the location cache keeps.
type Placement struct {
	PID   PID
	Token Token
}

// Activation is one running grain on one member.
type Activation struct {
	Identity Identity
	Placement
}
