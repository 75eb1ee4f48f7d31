package lookuptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/rendezvous"
	"github.com/granary-go/granary/core/strategy"
)

const kind = "Cart"

// fault is what the network does to one message.
type fault uint8

const (
	healthy     fault = iota
	lostRequest       // it never arrives, and the sender knows
	lostAnswer        // it is handled, but the sender learns nothing
)

// world is one simulated cluster: nodes, the views they are given, and the network between them.
type world struct {
	t       testing.TB
	h       Harness
	make    func() core.Lookup
	hosts   suitetest.Group
	history *history

	mu      sync.Mutex // guards what follows
	nodes   []*node
	byID    map[core.MemberID]*node
	record  core.ViewRecord
	current *core.View
	fault   func(from, to core.MemberID) fault
	roving  bool // nodes are restless, and their strategy picks another host every time
}

// newWorld makes a cluster of n nodes that are Up, host kind, and have the same view. Ordered views
// have a lineage and epochs that all nodes share.
func newWorld(t testing.TB, h Harness, ordered bool, n int) *world {
	t.Helper()
	w := emptyWorld(t, h, ordered)
	w.grow(n)
	return w
}

// newRovingWorld is newWorld with hosts that make it hard: each strategy picks another host every
// time, Activate takes its time, and a quarter of the activations end at once.
func newRovingWorld(t testing.TB, h Harness, ordered bool, n int) *world {
	t.Helper()
	w := emptyWorld(t, h, ordered)
	w.roving = true
	w.grow(n)
	return w
}

func emptyWorld(t testing.TB, h Harness, ordered bool) *world {
	w := &world{t: t, h: h, make: h.New(t), history: newHistory(), byID: map[core.MemberID]*node{}}
	w.record = core.ViewRecord{Epoch: 1_700_000_000_000}
	if ordered {
		w.record.Lineage = "lineage-1"
	}
	t.Cleanup(w.close)
	return w
}

// grow adds n nodes.
func (w *world) grow(n int) {
	w.t.Helper()
	for range n {
		w.start(w.add(kind))
	}
	w.publish()
}

// calm ends what makes a roving world hard, so that it can settle.
func (w *world) calm() {
	for _, n := range w.alive() {
		n.mu.Lock()
		n.restless = nil
		n.mu.Unlock()
	}
}

// add makes a node that is not yet started. Its member hosts kinds.
func (w *world) add(kinds ...string) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := len(w.nodes)
	n := &node{
		w:      w,
		lookup: w.make(),
		self: core.Member{
			ID: core.MemberID(fmt.Sprintf("m%02d-%x", i, rendezvous.Mix(uint64(i)))), Address: fmt.Sprintf("10.0.0.%d:7000", i+1),
			Kinds: slices.Sorted(slices.Values(kinds)), Status: core.Up, Protocol: core.Protocol{Min: 1, Max: 1},
		},
		installed:   make(chan struct{}),
		activations: map[core.Identity]*activation{},
		strategy:    strategy.Rendezvous{},
	}
	if w.roving {
		n.strategy, n.restless = &strategy.RoundRobin{}, rand.New(rand.NewPCG(uint64(i), 11))
	}
	w.nodes = append(w.nodes, n)
	w.byID[n.self.ID] = n
	return n
}

// start starts the lookup of n and lists its member in the next view.
func (w *world) start(n *node) {
	w.t.Helper()
	if err := n.lookup.Start(suitetest.WithTimeout(w.t, w.h.Settle), n, suitetest.NewEnv(string(n.Self().ID), &n.group)); err != nil {
		w.t.Fatalf("start of %s: %v", n.Self().ID, err)
	}
	w.list(n.Self())
}

// list puts or replaces a row in the record of the next view.
func (w *world) list(m core.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Members = core.NewMembers(append(slices.Clone(w.record.Members), m)...)
}

// unlist removes a row from the record of the next view.
func (w *world) unlist(id core.MemberID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Members = slices.DeleteFunc(slices.Clone(w.record.Members), func(m core.Member) bool { return m.ID == id })
}

// setStatus changes the status of n's row in the next view.
func (w *world) setStatus(n *node, s core.Status) {
	n.mu.Lock()
	n.self.Status = s
	m := n.self
	n.mu.Unlock()
	w.list(m)
}

// next makes the next view, with its epoch and its Changes, without telling anybody.
func (w *world) next() *core.View {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Epoch++
	w.record.Revision++
	w.record.WriteID = fmt.Sprintf("write-%d", w.record.Revision)
	v, err := core.NewView(w.record)
	if err != nil {
		w.t.Fatalf("view: %v", err)
	}
	topology := core.Diff(w.current, v)
	for _, m := range slices.Concat(topology.Joined, topology.Changed) {
		w.record.Changes = append(w.record.Changes, core.Change{Epoch: w.record.Epoch, ID: m.ID, Status: m.Status, Weight: m.Weight})
	}
	for _, m := range topology.Left {
		w.record.Changes = append(w.record.Changes, core.Change{Epoch: w.record.Epoch, ID: m.ID})
		w.record.Departed = append(w.record.Departed, core.Departure{ID: m.ID, Epoch: w.record.Epoch})
	}
	if v, err = core.NewView(w.record); err != nil {
		w.t.Fatalf("view: %v", err)
	}
	w.current = v
	return v
}

// publish makes the next view and installs it everywhere, one node after the other.
func (w *world) publish() *core.View {
	w.t.Helper()
	v := w.next()
	for _, n := range w.alive() {
		n.install(v)
	}
	return v
}

// install gives v to the lookup, as cluster/view.go does.
func (n *node) install(v *core.View) {
	n.w.t.Helper()
	n.mu.Lock()
	old := n.view
	n.mu.Unlock()
	if err := n.lookup.Reshape(core.Diff(old, v)); err != nil {
		n.w.t.Errorf("reshape of %s to epoch %d: %v", n.self.ID, v.Epoch(), err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.view = v
	close(n.installed)
	n.installed = make(chan struct{})
}

// alive are the nodes that have not gone down.
func (w *world) alive() []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*node
	for _, n := range w.nodes {
		if !n.isDown() {
			out = append(out, n)
		}
	}
	return out
}

// ready are the nodes that are alive and have a view: those that are asked.
func (w *world) ready() []*node {
	return slices.DeleteFunc(w.alive(), func(n *node) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.view == nil
	})
}

func (n *node) isDown() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down
}

// carry is the network.
func (w *world) carry(ctx context.Context, from *node, to core.MemberID, m core.Message) (core.Message, error) {
	w.mu.Lock()
	target, known := w.byID[to]
	trouble := healthy
	if w.fault != nil {
		trouble = w.fault(from.self.ID, to)
	}
	w.mu.Unlock()
	from.mu.Lock()
	stamp, down, self := from.view, from.down, from.self
	from.mu.Unlock()
	if !known || down || target.isDown() || trouble == lostRequest || stamp == nil {
		return core.Message{}, core.WithDelivery(fmt.Errorf("call %s: %w", to, core.ErrUnreachable), core.Undelivered)
	}
	if m.Type == "" {
		w.t.Errorf("call of %s: a message without a type cannot travel", to)
	}
	from.dawdle()
	answer, err := target.handle(ctx, self, stamp, m)
	if trouble == lostAnswer || target.isDown() {
		return core.Message{}, core.WithDelivery(fmt.Errorf("call %s: %w", to, core.ErrUnreachable), core.DeliveryUnknown)
	}
	return core.Message{Type: answer.Type, Data: slices.Clone(answer.Data)}, throughWire(err)
}

// setFault makes the network do f to every message from now on; nil heals it.
func (w *world) setFault(f func(from, to core.MemberID) fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
}

// crash ends the process of n without a word: nothing of it runs or answers any more.
func (w *world) crash(n *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for _, a := range n.activations {
		w.history.add(vanished, a.Activation)
	}
	n.activations = map[core.Identity]*activation{}
}

// leave takes n out as a graceful stop does: Leaving, drained, stopped, removed.
func (w *world) leave(n *node) {
	w.t.Helper()
	w.setStatus(n, core.Leaving)
	w.publish()
	ctx := suitetest.WithTimeout(w.t, w.h.Settle)
	for a := range n.Activations() {
		if err := n.Deactivate(ctx, a.Identity, a.Token, core.StopLeaving); err != nil {
			w.t.Errorf("drain: %v", err)
		}
	}
	if err := n.lookup.Stop(ctx); err != nil {
		w.t.Errorf("stop of the lookup on %s: %v", n.Self().ID, err)
	}
	for a := range n.Activations() {
		w.t.Errorf("%s runs on %s, whose lookup has stopped", a.Identity, n.self.ID)
	}
	w.unlist(n.Self().ID)
	w.next()
	for _, other := range w.alive() {
		if other != n {
			other.install(w.view())
		}
	}
	w.crash(n) // its transport is closed
}

func (w *world) view() *core.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

// close stops every lookup, and with it whatever it started.
func (w *world) close() {
	w.setFault(func(core.MemberID, core.MemberID) fault { return lostRequest })
	for _, n := range w.nodes {
		n.release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), w.h.Settle)
		_ = n.lookup.Stop(ctx) // the row that is about Stop looks at its error
		cancel()
		if left := n.group.Left(w.h.Settle); left != nil {
			w.t.Errorf("after Stop of the lookup on %s, its goroutines %q are left", n.self.ID, left)
		}
	}
	if left := w.hosts.Left(w.h.Settle); left != nil {
		w.t.Errorf("goroutines of the hosts are left: %q", left)
	}
}

// holdActivations makes Activate wait until release.
func (n *node) holdActivations() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hold = make(chan struct{})
}

// release lets held calls of Activate go on, and ends refusals.
func (n *node) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hold != nil {
		close(n.hold)
		n.hold = nil
	}
	n.refuse = nil
}

// refuseWith makes Activate fail with err until release.
func (n *node) refuseWith(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = err
}

// calls counts the calls of Activate so far.
func (n *node) calls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.entered
}

// running lists the activations of id that run now, on any node.
func (w *world) running(id core.Identity) []core.Activation {
	var out []core.Activation
	for _, n := range w.alive() {
		for a := range n.Activations() {
			if a.Identity == id {
				out = append(out, a)
			}
		}
	}
	return out
}

// node finds a node by its member ID.
func (w *world) node(id core.MemberID) *node {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	n, ok := w.byID[id]
	if !ok {
		w.t.Fatalf("no node %q", id)
	}
	return n
}

// ids are the identities of the checks: n keys of kind.
func ids(n int) []core.Identity {
	out := make([]core.Identity, n)
	for i := range out {
		out[i] = core.Identity{Kind: kind, Key: fmt.Sprintf("key-%03d", i)}
	}
	return out
}
