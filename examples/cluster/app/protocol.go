package app

// order is what the driver writes to a child: one JSON object a line.
type order struct {
	Do      string `json:"do"`
	Sweep   int    `json:"sweep,omitempty"`   // number of the sweep, from 1
	Hurried bool   `json:"hurried,omitempty"` // stop: the user waits; what is not done soon is left undone
}

// The orders.
const (
	doLoad   = "load"   // caller: begin the load
	doSweep  = "sweep"  // caller: call every identity until each has answered
	doPause  = "pause"  // caller: end the load, wait for what is outstanding
	doCancel = "cancel" // caller: cancel what is outstanding
	doCount  = "count"  // member: tell how many activations run
	doStop   = "stop"   // leave the cluster and exit
)

// notice is what a child writes to the driver.
type notice struct {
	Ready   bool     `json:"ready,omitempty"`
	Member  string   `json:"member,omitempty"` // own member ID
	Gossip  string   `json:"gossip,omitempty"` // address for the seeds of others
	Hash    string   `json:"hash,omitempty"`   // of the topology just installed
	Members []string `json:"members,omitempty"`
	Running *int     `json:"running,omitempty"` // activations
	Swept   int      `json:"swept,omitempty"`   // number of the sweep that is complete
	Paused  bool     `json:"paused,omitempty"`
	Load    *load    `json:"load,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// load is one second of calls.
type load struct {
	Calls  int     `json:"calls"`
	Errors int     `json:"errors"`
	P50    float64 `json:"p50"` // microseconds
	P99    float64 `json:"p99"`
}

// start is what a child is told in its environment.
type start struct {
	Role    string   `json:"role"` // roleMember, roleCaller
	Name    string   `json:"name"` // of its record file
	Dir     string   `json:"dir"`
	Seeds   []string `json:"seeds"`
	Server  string   `json:"server"`  // where the members meet, if not by seeds
	Cluster string   `json:"cluster"` // the name that they meet under there
	Options Options  `json:"options"`
}

const (
	roleMember = "member"
	roleCaller = "caller"
)

// startVariable is the environment variable that makes a process a child.
const startVariable = "GRANARY_EXAMPLE_CLUSTER"
