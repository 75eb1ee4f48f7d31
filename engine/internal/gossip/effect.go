package gossip

import "github.com/granary-go/granary/core"

// Effect is something that the shell has to do or to tell; the types below are all there are.
type Effect interface{ effect() }

// Send asks a peer, with Config.Timeout as limit. What comes of it is told by Answered or Failed.
type Send struct {
	To      core.MemberID
	Request *Request
}

// Reply answers a Received of the same step. There is exactly one for each. If Err is set, it is the
// answer.
type Reply struct {
	To       core.MemberID
	Exchange uint64
	Response *Response
	Err      error
}

// Changed says that a key has a new value, here or at another member.
type Changed struct {
	Member  core.MemberID
	Key     string
	Value   core.Message
	Version uint64
}

// Withdrawn says that a member, this one or another, has removed a key. Version is that of the removal:
// whatever the member writes under the key from now on is above it.
type Withdrawn struct {
	Member  core.MemberID
	Key     string
	Version uint64
}

// Removed says that nothing is known of a member any more: it left the view, or is blocked.
type Removed struct{ Member core.MemberID }

// Refused says that a part of a message, a whole message or a Set was refused. There is at most one
// for a message: it tells the first offence.
type Refused struct {
	From  core.MemberID
	Owner core.MemberID
	Key   string
	Err   error
	Count int // offences in the message
}

// Agreement says that the outcome of a check has changed.
type Agreement struct {
	Check  string
	Value  any // what all agree on; nil if they do not
	Agreed bool
}

func (Send) effect()      {}
func (Reply) effect()     {}
func (Changed) effect()   {}
func (Withdrawn) effect() {}
func (Removed) effect()   {}
func (Refused) effect()   {}
func (Agreement) effect() {}

// Stats are the sizes of what a Machine holds, and counts since it was made.
type Stats struct {
	Members int // of whom something may be known
	Keys    int
	Bytes   int // of all values
	Peers   int // to whom lines are kept, clients among them
	Blocked int

	Sent     uint64 // requests
	Acked    uint64 // exchanges that were answered in time
	Lost     uint64 // exchanges that were not
	Merged   uint64 // values taken from others
	Known    uint64 // values of others that were known already
	Gaps     uint64 // entries that start above what is held
	Refuted  uint64 // times that the own entry was numbered anew
	Lowered  uint64 // lines that a peer has corrected
	refusals [len(reasons)]uint64
}

// Refused is how often something was refused for a reason, one of the Err constants.
func (s *Stats) Refused(why error) uint64 {
	for i, r := range reasons {
		if r == why {
			return s.refusals[i]
		}
	}
	return 0
}

// Stats counts and measures what the Machine holds.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.Members, s.Peers, s.Blocked = len(m.order), len(m.peers), len(m.blocked)
	for _, e := range m.order {
		s.Keys += len(e.values)
		for i := range e.values {
			s.Bytes += e.values[i].size()
		}
	}
	return s
}
