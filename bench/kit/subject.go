package kit

import "time"

// Subject is one actor library as the rows use it. Every method starts a fresh part of it; nothing
// is ever stopped, since a program runs one row and exits.
type Subject interface {
	// Local starts a system of actors in this process.
	Local() (Local, error)

	// Server starts a system that listens on a loopback port of its own choice. It has an actor
	// that hits sink for each message, and echoes actors that answer a request with its payload.
	Server(sink *Counter, echoes int) (Server, error)

	// Client starts a system that talks to the server at address, which another process runs.
	Client(address string) (Client, error)

	// Cluster starts members in this process, all at once, and returns when each of them sees all.
	Cluster(members int) (Cluster, error)

	// Member starts one member of a cluster of processes, all of which start at the same time. It may
	// wait until another one answers.
	Member(cfg MemberConfig) (Member, error)

	// Note tells which documented defaults are changed in a row; empty: none.
	Note(row string) string
}

// Local is a system of actors in one process. Its methods are called from one goroutine.
type Local interface {
	// Sink spawns an actor that hits c for each message. Up to load messages may wait before it.
	Sink(c *Counter, load int) (Sink, error)

	// PingPong spawns two actors. The function that it returns plays n round trips between them,
	// one at a time, and returns when the last reply has been processed.
	PingPong() (func(n int) error, error)

	// Echo spawns an actor that answers each request.
	Echo() (Caller, error)

	// Spawn spawns n actors that stay idle, and keeps them alive. Each counts down once its start
	// hook has run.
	Spawn(n int, started *Latch) error

	// SpawnStop spawns an actor, stops it and waits for its end, n times.
	SpawnStop(n int) error
}

// Sink sends to one actor. Safe for concurrent use.
type Sink interface {
	// Send sends n messages. A message that is refused is an error.
	Send(n int) error
}

// Caller sends requests to one target, each after the reply to the one before. A caller is used by
// one goroutine at a time.
type Caller interface {
	// Call makes n requests, checks each reply, and samples how long they took.
	Call(n int, lat *Latencies) error
}

// Server is a listening system, in a process of its own.
type Server interface {
	// Address is what [Subject.Client] needs to reach it.
	Address() string

	// Meet tells it of a client, by the client's address, before the first message.
	Meet(client string) error
}

// Client is a system that talks to a [Server]. Its methods are called from one goroutine.
type Client interface {
	// Address is what [Server.Meet] needs to know of it.
	Address() string

	// Sink sends payloads of size bytes to the server's sink. It may wait until the link is open.
	Sink(size int) (Sink, error)

	// Echo sends requests of size bytes to the echo actor with that index. It may wait as Sink does.
	Echo(index, size int) (Caller, error)
}

// Kind is where the grains of a kind live.
type Kind string

// The kinds that every cluster of the rows has.
const (
	OnCaller Kind = "OnCaller" // hosted by the first member, from which all calls are made
	OnOthers Kind = "OnOthers" // hosted by all members but the first
	OnAll    Kind = "OnAll"    // hosted by every member
)

// Hosts reports whether the member with that index hosts the kind.
func (k Kind) Hosts(member int) bool {
	switch k {
	case OnCaller:
		return member == 0
	case OnOthers:
		return member > 0
	default:
		return true
	}
}

// Kinds lists all kinds.
func Kinds() []Kind { return []Kind{OnCaller, OnOthers, OnAll} }

// Cluster is a set of members in one process. Calls are made from the first of them.
type Cluster interface {
	// Grain returns a caller of one grain. It calls nothing yet. Callers of different grains may
	// be used at the same time.
	Grain(kind Kind, key string) (Caller, error)
}

// MemberConfig says which member of a cluster of processes to start.
type MemberConfig struct {
	Index int   `json:"index"`
	Ports []int `json:"ports"` // one loopback port a member, for its membership protocol
}

// Member is one member of a cluster of processes.
type Member interface {
	// Members is how many members it sees, itself included.
	Members() int

	// Where calls the grain of kind [OnAll] with that key and returns the index of the member that
	// answered. It makes one call, with the library's default time limit.
	Where(key string) (int, error)
}

// AskLimit is the time limit of asks, where no library has a default: as long as a row may take, so
// that a busy machine makes a row slow and does not make it fail. Calls of grains have each library's
// own default.
const AskLimit = 60 * time.Second
