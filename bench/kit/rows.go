package kit

import "time"

// Row is one line of the table: a closed amount of work and the figure it is judged by.
type Row struct {
	Name   string
	Metric string // "ns/op", or the name of the extra figure that is the row's own
	Ops    int    // default amount of work, about 1 to 3 s for the slower side
	About  string // one line for people
	run    func(s Subject, row *Row, n int, res *Result) error
	width  int // callers, producers or members
	size   int // payload in bytes, remote rows
	kind   Kind
}

// warmUp is how many messages go before the clock starts.
const warmUp = 2_000

// completion is how long a receiver may take to complete its count.
const completion = 30 * time.Second

// Rows returns all rows in the order of the table.
func Rows() []Row {
	return []Row{
		{Name: "tell1", Metric: "ns/op", Ops: 1_500_000, width: 1, run: runTell, About: "1 producer sends to 1 actor, until it has processed all"},
		{Name: "tell4", Metric: "ns/op", Ops: 1_500_000, width: 4, run: runTell, About: "4 producers send to 1 actor"},
		{Name: "fanout", Metric: "ns/op", Ops: 1_000_000, width: 100_000, run: runFanout, About: "1 producer sends to 100,000 actors in turn, 10 messages each"},
		{Name: "pingpong", Metric: "ns/op", Ops: 500_000, run: runPingPong, About: "round trips between two actors, one at a time"},
		{Name: "ask1", Metric: "ns/op", Ops: 300_000, width: 1, run: runAsk, About: "1 caller asks 1 actor and waits for each reply"},
		{Name: "ask64", Metric: "ns/op", Ops: 320_000, width: 64, run: runAsk, About: "64 callers, each with an actor of its own"},
		{Name: "spawn", Metric: "ns/op", Ops: 200_000, run: runSpawn, About: "spawn actors that stay idle; with memory per actor"},
		{Name: "spawnstop", Metric: "ns/op", Ops: 150_000, run: runSpawnStop, About: "spawn an actor, stop it, wait for its end"},
		{Name: "roneway", Metric: "ns/op", Ops: 800_000, size: 16, run: runOneWay, About: "two processes: 16 B messages one way, until the receiver has counted all"},
		{Name: "roneway1k", Metric: "ns/op", Ops: 250_000, size: 1024, run: runOneWay, About: "the same with 1 KiB"},
		{Name: "rping", Metric: "ns/op", Ops: 5_000, width: 1, size: 16, run: runRemoteAsk, About: "two processes: 1 caller asks and waits for each reply, 16 B both ways"},
		{Name: "rask64", Metric: "ns/op", Ops: 96_000, width: 64, size: 16, run: runRemoteAsk, About: "two processes: 64 callers, each with an actor of its own"},
		{Name: "rask64_1k", Metric: "ns/op", Ops: 48_000, width: 64, size: 1024, run: runRemoteAsk, About: "the same with 1 KiB both ways"},
		{Name: "form3", Metric: "form_ms", Ops: 1, width: 3, run: runForm, About: "3 members of one process start, until each sees all; with the first call to another member"},
		{Name: "form10", Metric: "form_ms", Ops: 1, width: 10, run: runForm, About: "the same with 10 members"},
		{Name: "grainlocal1", Metric: "ns/op", Ops: 100_000, width: 1, kind: OnCaller, run: runGrainCalls, About: "1 caller calls 10,000 active grains in turn that its own member hosts"},
		{Name: "grainlocal64", Metric: "ns/op", Ops: 192_000, width: 64, kind: OnCaller, run: runGrainCalls, About: "the same with 64 callers"},
		{Name: "grainremote1", Metric: "ns/op", Ops: 8_000, width: 1, kind: OnOthers, run: runGrainCalls, About: "1 caller calls 10,000 active grains in turn that other members host"},
		{Name: "grainremote64", Metric: "ns/op", Ops: 64_000, width: 64, kind: OnOthers, run: runGrainCalls, About: "the same with 64 callers"},
		{Name: "grainact", Metric: "ns/op", Ops: 30_000, width: 64, kind: OnAll, run: runActivations, About: "first calls to new identities on 3 members, 64 callers; with memory per activation"},
		{Name: "grainkill", Metric: "all_ms", Ops: 300, width: 3, run: runKill, About: "3 processes, one is killed: until every grain that it hosted answers again"},
	}
}

// find returns the row of that name.
func find(name string) (*Row, bool) {
	for _, r := range Rows() {
		if r.Name == name {
			return &r, true
		}
	}
	return nil, false
}
