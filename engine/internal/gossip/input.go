package gossip

import (
	"fmt"

	"github.com/granary-go/granary/core"
)

// errClient is why a client cannot set keys.
var errClient = fmt.Errorf("set gossip key: a client has no entry of its own, set it on a member: %w", core.ErrUnsupported)

// Input is something that happened; the types below are all there are.
type Input interface{ step(*Machine) }

// Tick is the beginning of a round. The shell gives one each Config.Interval, each process at a
// phase of its own.
type Tick struct{}

// Installed is the present view. It may hold this process; only members in it are believed, and
// only they count in checks.
type Installed struct {
	IDs []core.MemberID
	// Topology becomes the own value of KeyTopology in the same step, unless its type is empty.
	Topology core.Message
}

// Block refuses gossip of and about members until Unblock, also while the view has them.
type Block struct{ IDs []core.MemberID }

// Unblock ends Block.
type Unblock struct{ IDs []core.MemberID }

// Clients is the set of clients that are connected and may read. They have no entry.
type Clients struct{ IDs []core.MemberID }

// Set writes an own key. What is refused is told by Refused with the member itself as sender.
type Set struct {
	Key   string
	Value core.Message // its data is not modified any more
	// Push tells every member at once, without waiting for the next rounds.
	Push bool
}

// Unset removes an own key, if there is one. It is gone for all who hear of it, and does not come back to
// them by what was written before. What is refused is told as for Set.
type Unset struct{ Key string }

// Received is a request that has arrived.
type Received struct {
	From    core.MemberID // as the connection proved it
	Request *Request
}

// Answered is the response to the Send of that number.
type Answered struct {
	From     core.MemberID // as the connection proved it
	Exchange uint64
	Response *Response
}

// Failed says that the Send of that number gets no response.
type Failed struct {
	To       core.MemberID
	Exchange uint64
}

func (Tick) step(m *Machine)         { m.round() }
func (in Installed) step(m *Machine) { m.install(in) }
func (in Block) step(m *Machine)     { m.block(in.IDs) }
func (in Unblock) step(m *Machine)   { m.unblock(in.IDs) }
func (in Clients) step(m *Machine)   { m.setClients(in.IDs) }
func (in Set) step(m *Machine)       { m.set(in.Key, in.Value, in.Push) }
func (in Unset) step(m *Machine)     { m.unset(in.Key) }
func (in Received) step(m *Machine)  { m.receive(in.From, in.Request) }
func (in Answered) step(m *Machine)  { m.answered(in.From, in.Exchange, in.Response) }
func (in Failed) step(m *Machine)    { m.failed(in.To, in.Exchange) }
