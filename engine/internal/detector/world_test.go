package detector

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/viewedit"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// world is a cluster of detectors in virtual time: a network of directed links, a view that is kept in
// one record, gossip that passes heartbeats on, and a clock for every node.
type world struct {
	t      *testing.T
	rand   *rand.Rand
	now    time.Duration
	queue  events
	seq    int
	nodes  []*node
	cut    map[[2]int]bool
	loss   float64
	delay  time.Duration
	silent bool // a dead node's machine is gone too, so that connecting times out

	view    *core.View
	started int // processes
	changes int // of the epoch
	writes  int
	restart bool // who was evicted starts anew, as another member at the same place
}

// node is one process. Its place stays when it is started again.
type node struct {
	w       *world
	place   int
	id      core.MemberID
	d       *Detector
	born    time.Time
	rate    float64
	dead    bool
	wakes   time.Duration // paused until then
	beats   map[core.MemberID]int
	ticking time.Duration
	log     []Effect
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newWorld(t *testing.T, seed uint64, n int) *world {
	t.Helper()
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 9)), cut: map[[2]int]bool{}, delay: 2 * time.Millisecond}
	for place := range n {
		w.join(place)
	}
	w.changes = 0
	return w
}

// join starts a process at place and lists it.
func (w *world) join(place int) {
	w.started++
	id := core.MemberID(fmt.Sprintf("m%02d-%d", place, w.started))
	n := &node{w: w, place: place, id: id, born: time.Now(), rate: 1, beats: map[core.MemberID]int{}, d: New(Config{Self: id, Store: true})}
	if place < len(w.nodes) {
		n.rate = w.nodes[place].rate
		w.nodes[place] = n
	} else {
		w.nodes = append(w.nodes, n)
	}
	var rec core.ViewRecord
	if w.view != nil {
		rec = w.view.Record()
	}
	rec.Members = append(rec.Members, core.Member{ID: id, Address: fmt.Sprintf("h:%d", 1+place), Status: core.Up})
	w.store(rec)
	w.in(w.jitter(300*time.Millisecond), n.gossip)
}

func (w *world) jitter(d time.Duration) time.Duration { return time.Duration(w.rand.Int64N(int64(d))) }

func (w *world) in(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, do})
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = max(w.now, e.at)
		e.do()
	}
	w.now = end
}

// store makes rec the record, as a ViewStore does, and tells everybody within 200 ms.
func (w *world) store(rec core.ViewRecord) {
	w.t.Helper()
	w.writes++
	v, err := viewedit.Next(w.view, rec, viewedit.Stamp{WriteID: fmt.Sprint(w.writes), Lineage: "L", Now: time.Unix(1, 0)})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.view != nil && v.Epoch() != w.view.Epoch() {
		w.changes++
	}
	w.view = v
	for place := range w.nodes {
		w.in(w.jitter(200*time.Millisecond), func() { w.nodes[place].install() })
	}
}

func (n *node) install() {
	v := n.w.view
	if n.dead {
		return
	}
	if _, listed := v.Member(n.id); !listed {
		n.dead = true
		if n.w.restart {
			n.w.in(time.Second, func() { n.w.join(n.place) })
		}
		return
	}
	n.step(Installed{View: v})
}

// step runs the machine on the clock of the node, once the process runs.
func (n *node) step(in Input) {
	if n.dead {
		return
	}
	if n.w.now < n.wakes {
		n.w.in(n.wakes-n.w.now, func() { n.step(in) })
		return
	}
	out := n.d.Step(n.clock(), in, nil)
	n.log = append(n.log, out...)
	n.carryOut(out)
	if at, ok := n.d.Next(); ok {
		local := time.Duration(float64(at.Sub(n.born)) / n.rate)
		if local > n.ticking {
			n.ticking = local
			n.w.in(max(local-n.w.now, 0), func() { n.step(Tick{}) })
		}
	}
}

func (n *node) clock() time.Time { return n.born.Add(time.Duration(float64(n.w.now) * n.rate)) }

func (n *node) carryOut(out []Effect) {
	writes := false
	for _, e := range out {
		switch e.Type {
		case Probe:
			n.send(e.ID, func(to *node) {
				to.step(Heard{n.id})
				to.send(n.id, func(n *node) { n.step(Heard{to.id}) })
			})
		case Vote, Withdraw, Evict:
			writes = true
		}
	}
	if writes {
		based := n.d.view
		n.w.in(2*time.Millisecond+n.w.jitter(time.Millisecond), func() { n.swap(based, out) })
	}
}

// swap is SwapView and what the shell makes of its outcome.
func (n *node) swap(based *core.View, out []Effect) {
	if n.dead {
		return
	}
	if based != n.w.view {
		n.install() // a conflict comes with the present view
		return
	}
	if next, changed := Edit(based, n.id, out); changed {
		n.w.store(next)
	}
}

// send brings a message to whoever has the ID, if the link lets it through. Nobody listens at the place
// of a dead one.
func (n *node) send(id core.MemberID, got func(*node)) {
	w := n.w
	for _, to := range w.nodes {
		if to.id != id || w.cut[[2]int{n.place, to.place}] || w.rand.Float64() < w.loss {
			continue
		}
		w.in(w.delay+w.jitter(w.delay), func() {
			switch {
			case !to.dead:
				w.whenAwake(to, func() { got(to) })
			case !w.silent && !w.cut[[2]int{to.place, n.place}]:
				n.step(Refused{ID: id})
			}
		})
	}
}

func (w *world) whenAwake(n *node, do func()) {
	if d := n.wakes - w.now; d > 0 {
		w.in(d, do)
		return
	}
	do()
}

// gossip sends the own heartbeat, and the latest of others, to three members every 300 ms.
func (n *node) gossip() {
	if n.dead {
		return
	}
	if n.w.now >= n.wakes {
		n.beats[n.id]++
		others := slices.DeleteFunc(slices.Clone(n.w.nodes), func(o *node) bool { return o == n })
		n.w.rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		for _, to := range others[:min(3, len(others))] {
			beats := map[core.MemberID]int{}
			for m := range n.w.view.All() {
				beats[m.ID] = n.beats[m.ID]
			}
			if !to.dead {
				n.send(to.id, func(to *node) { to.merge(n.id, beats) })
			}
		}
	}
	n.w.in(max(300*time.Millisecond, n.wakes-n.w.now), n.gossip)
}

func (n *node) merge(from core.MemberID, beats map[core.MemberID]int) {
	n.step(Heard{from})
	for m := range n.w.view.All() {
		if beats[m.ID] <= n.beats[m.ID] {
			continue
		}
		n.beats[m.ID] = beats[m.ID]
		if m.ID != from && m.ID != n.id {
			n.step(Relayed{m.ID})
		}
	}
}

// kill ends the process at place. Its lease expires; the detector is to be sooner, where it can.
func (w *world) kill(place int) {
	n := w.nodes[place]
	n.dead = true
	w.in(12*time.Second, func() {
		rec := w.view.Record()
		if rest, listed := viewedit.Remove(rec, n.id, 0); listed {
			w.store(rest)
		}
	})
}

func (w *world) both(a, b int, cut bool) { w.cut[[2]int{a, b}], w.cut[[2]int{b, a}] = cut, cut }

func (w *world) listed(place int) bool {
	_, in := w.view.Member(w.nodes[place].id)
	return in
}

// wantChanges checks how often the epoch has changed since the world began.
func (w *world) wantChanges(least, most int) {
	w.t.Helper()
	if w.changes < least || w.changes > most {
		w.t.Errorf("the view changed %d times, want %d to %d", w.changes, least, most)
	}
}

// wantNoDoubt checks that nobody suspects anybody, and nobody's vote is left.
func (w *world) wantNoDoubt() {
	w.t.Helper()
	for _, n := range w.nodes {
		if got := n.d.Suspects(); !n.dead && len(got) > 0 {
			w.t.Errorf("%s suspects %v", n.id, got)
		}
	}
	if votes := slices.Collect(w.view.Suspicions()); len(votes) > 0 {
		w.t.Errorf("votes %v", votes)
	}
}
