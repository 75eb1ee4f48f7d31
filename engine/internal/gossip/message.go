package gossip

import "github.com/granary-go/granary/core"

// Value is the last write of a key that is known. It is immutable, its data too.
type Value struct {
	Key string
	// Version orders the writes of a member, over all its keys. It grows with each.
	Version uint64
	Message core.Message
}

// size is about what the value takes in a message.
func (v *Value) size() int { return len(v.Key) + len(v.Message.Type) + len(v.Message.Data) + 48 }

// Entry is a part of the state of one member, as one message carries it. A receiver whose line for
// the owner is at Base or above knows, once it has merged the entry, all that the owner wrote up to
// the last version in it.
type Entry struct {
	Owner core.MemberID
	// Base is the line from which the sender started: what the receiver is taken to hold already.
	Base uint64
	// Relayed says that the owner is not the sender.
	Relayed bool
	// Values ascend by version. Never empty. Shared and read only.
	Values []Value
}

// last is the highest version in the entry.
func (e *Entry) last() uint64 { return e.Values[len(e.Values)-1].Version }

// Line says how much of an owner's writes somebody holds: all up to Version.
type Line struct {
	Owner   core.MemberID
	Version uint64
}

// Request opens an exchange: it pushes what the sender knows and the receiver may not, and asks for
// the reverse.
type Request struct {
	// Exchange numbers the exchanges of the sender, from 1. 0 comes from Proto.Actor nodes.
	Exchange uint64
	// Answered is the last exchange with this receiver whose response the sender has merged.
	Answered uint64
	// Known is the highest version of the receiver's own entry that the sender holds.
	Known   uint64
	Entries []Entry
	// View is a hash over the IDs of the sender's view, and Versions how much the sender holds of
	// each of these members, ascending by ID: all up to there. A receiver with another view cannot
	// use them. Shared and read only.
	View     uint64
	Versions []uint64
	// Lines corrects what the receiver may believe that the sender holds: it holds no more.
	Lines []Line
}

// Response ends an exchange: it acknowledges the request of the same number.
type Response struct {
	Exchange uint64
	Entries  []Entry
	View     uint64
	Lines    []Line
}
