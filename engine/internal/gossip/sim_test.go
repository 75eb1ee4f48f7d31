package gossip_test

import (
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// seeds is how many runs the tests with chance make: go test -seeds 1000.
var seeds = flag.Uint64("seeds", 8, "runs of each test with chance")

// world is a heap of events over Machines and the links between them.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	start time.Time
	queue events
	count int
	nodes map[core.MemberID]*node
	cfg   gossip.Config

	loss, double float64
	delay        time.Duration // of one message: 0 to this
	cut          func(from, to core.MemberID) bool
	beat         time.Duration // of heartbeats; 0: none
	bytes        int           // sent
	messages     int
	largest      int
	changes      func(n *node, c gossip.Changed)
	removed      func(n *node, r gossip.Removed)
	withdrawn    func(n *node, w gossip.Withdrawn)
}

type node struct {
	*world
	*gossip.Machine
	id    core.MemberID
	alive bool
	view  []core.MemberID
	epoch int

	writing bool // it takes a step in which it may write its own keys
}

type event struct {
	at  time.Time
	seq int
	run func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func newWorld(t *testing.T, seed uint64) *world {
	start := time.Unix(1, 0)
	return &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: start, start: start, nodes: map[core.MemberID]*node{}, delay: 20 * time.Millisecond}
}

func (w *world) after(d time.Duration, run func()) {
	w.count++
	heap.Push(&w.queue, event{w.now.Add(d), w.count, run})
}

// run lets d pass, or until says enough.
func (w *world) run(d time.Duration, enough func() bool) {
	end := w.now.Add(d)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.run()
		if enough != nil && enough() {
			return
		}
	}
	w.now = end
}

func (w *world) add(id core.MemberID) *node {
	cfg := w.cfg
	cfg.Self, cfg.Rand = id, rand.New(rand.NewPCG(w.rng.Uint64(), 1))
	m, err := gossip.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n := &node{world: w, Machine: m, id: id, alive: true}
	w.nodes[id] = n
	interval := m.Config().Interval
	w.after(time.Duration(w.rng.Int64N(int64(interval))), n.tick)
	if w.beat > 0 {
		w.after(time.Duration(w.rng.Int64N(int64(w.beat))), n.heartbeat)
	}
	return n
}

func (n *node) tick() {
	if n.alive {
		n.step(gossip.Tick{})
		n.after(n.Config().Interval, n.tick)
	}
}

func (n *node) heartbeat() {
	if n.alive {
		load := gossip.Heartbeat{Activations: []gossip.KindCount{{Kind: "Cart", Count: n.rng.Int64N(10_000)}, {Kind: "Order", Count: n.rng.Int64N(10_000)}}}
		n.set(gossip.KeyHeartbeat, convert.HeartbeatToMessage(load))
		n.after(n.beat, n.heartbeat)
	}
}

func (n *node) set(key string, v core.Message) { n.step(gossip.Set{Key: key, Value: v}) }

func (n *node) install(ids ...core.MemberID) {
	n.view = slices.Sorted(slices.Values(ids))
	n.step(gossip.Installed{IDs: n.view, Topology: topology(n.view)})
}

func topology(ids []core.MemberID) core.Message {
	return convert.TopologyToMessage(gossip.Topology{Lineage: "L", Epoch: 7, Hash: convert.TopologyHash(ids), WireHash: convert.TopologyHash(ids)})
}

// step hands in to n and carries out what it causes.
func (n *node) step(in gossip.Input) {
	if !n.alive {
		return
	}
	switch in.(type) {
	case gossip.Set, gossip.Unset, gossip.Installed:
		n.writing = true
		defer func() { n.writing = false }()
	}
	for _, e := range n.Step(n.now, in, nil) {
		switch e := e.(type) {
		case gossip.Send:
			n.ask(e)
		case gossip.Reply:
			n.t.Fatal("a reply without a request")
		default:
			n.watch(e)
		}
	}
}

func (n *node) watch(e gossip.Effect) {
	switch e := e.(type) {
	case gossip.Changed:
		if n.changes != nil {
			n.changes(n, e)
		}
	case gossip.Withdrawn:
		if n.withdrawn != nil {
			n.withdrawn(n, e)
		}
	case gossip.Removed:
		if n.removed != nil {
			n.removed(n, e)
		}
	}
}

// ask carries a request over the link, and its response back, unless one is lost.
func (n *node) ask(e gossip.Send) {
	data := convert.AppendGossipRequest(nil, e.To, e.Request)
	n.after(n.Config().Timeout, func() { n.step(gossip.Failed{To: e.To, Exchange: e.Request.Exchange}) })
	n.carry(n.id, e.To, data, func(to *node) {
		r, err := convert.GossipRequestFromWire(data)
		if err != nil {
			n.t.Fatal(err)
		}
		to.handle(n.id, r)
	})
}

func (n *node) handle(from core.MemberID, r *gossip.Request) {
	replies := 0
	for _, e := range n.Step(n.now, gossip.Received{From: from, Request: r}, nil) {
		switch e := e.(type) {
		case gossip.Reply:
			replies++
			n.answer(e)
		default:
			n.watch(e)
		}
	}
	if replies != 1 {
		n.t.Fatalf("%d replies to a request", replies)
	}
}

func (n *node) answer(e gossip.Reply) {
	if e.Err != nil {
		n.carry(n.id, e.To, nil, func(to *node) { to.step(gossip.Failed{To: n.id, Exchange: e.Exchange}) })
		return
	}
	data := convert.AppendGossipResponse(nil, e.Response)
	n.carry(n.id, e.To, data, func(to *node) {
		r, err := convert.GossipResponseFromWire(data)
		if err != nil {
			n.t.Fatal(err)
		}
		to.step(gossip.Answered{From: n.id, Exchange: e.Exchange, Response: r})
	})
}

// carry puts one message on the link.
func (w *world) carry(from, to core.MemberID, data []byte, arrive func(*node)) {
	w.bytes += len(data)
	w.messages++
	w.largest = max(w.largest, len(data))
	copies := 1
	if w.rng.Float64() < w.double {
		copies = 2
	}
	for range copies {
		if w.rng.Float64() < w.loss || w.cut != nil && w.cut(from, to) {
			continue
		}
		w.after(time.Duration(w.rng.Int64N(int64(w.delay)+1)), func() {
			if n := w.nodes[to]; n != nil && n.alive {
				arrive(n)
			}
		})
	}
}

func (w *world) live() (ids []core.MemberID) {
	for id, n := range w.nodes {
		if n.alive {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func member(i int) core.MemberID { return core.MemberID(fmt.Sprintf("member-%04d-5cDbFUWPiSz", i)) }

func text(s string) core.Message { return core.Message{Type: "test.Text", Data: []byte(s)} }

// cluster makes n members that all have each other in view and nothing more to say.
func cluster(w *world, n int) (nodes []*node) {
	var ids []core.MemberID
	for i := range n {
		ids = append(ids, member(i))
		nodes = append(nodes, w.add(member(i)))
	}
	for _, n := range nodes {
		n.install(ids...)
	}
	return nodes
}

func has(n *node, owner core.MemberID, key, want string) bool {
	v, found := n.Get(owner, key)
	return found && string(v.Message.Data) == want
}
