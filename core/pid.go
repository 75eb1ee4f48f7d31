package core

// MemberID names one start of one member process. It is fresh at every start, never reused, never
// derived from an address, and equal to the actor-system ID and the gossip key of that process.
type MemberID string

// PID addresses a process inside one member. Comparable. Process IDs begin with a nonce of the
// process start, so Address and ID alone never name two starts. Member is set on every PID that a
// plug-in sees; a frame for another start of that address is refused as not delivered.
type PID struct {
	Address string // host:port exactly as the owner advertises it
	ID      string // process name inside the member; opaque to everybody else
	Member  MemberID
}

// IsZero reports whether p names nothing.
func (p PID) IsZero() bool { return p == PID{} }

// String is "address/id", for logs and error texts.
func (p PID) String() string { return p.Address + "/" + p.ID }
