package nodes

import (
	"context"
	"fmt"
	"hash/fnv"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// ask is what a call or a message says.
type ask struct {
	Number uint64        // of the request
	From   core.MemberID // who sent it
	Sender string        // of a stream of messages; empty for calls
	Place  int           // in that stream, from 1
}

// cart is the grain that is called. It notes when it is not treated as promised.
type cart struct {
	p       *process
	id      core.Identity
	self    grain.Self
	token   uint64 // names the activation
	view    stamp  // by which it was made
	made    time.Duration
	met     bool // a request has reached it
	turns   atomic.Int32
	started bool
	stopped bool
	calls   int
	heard   map[string]int // place of the last message of each stream
}

// The turns of the first few identities take time, up to most. They are fewer than the turns that one node
// runs at once, which is four a processor: whose turn has to wait for another's end is not the seed's to say.
const (
	slow = 3
	most = 4 * time.Millisecond
	last = 90 * time.Millisecond // of their last turns: whoever follows elsewhere has to wait for these
)

// pass lets the time of a turn pass, or at least lets others run.
func (g *cart) pass(number uint64) {
	if slices.Contains(g.p.w.ids[:slow], g.id) {
		time.Sleep(1 + time.Duration(token("turn", g.id.Key, number)%uint64(most)))
		return
	}
	runtime.Gosched()
}

func (p *process) cartKind() grain.Kind {
	k := grain.KindOf(kind, p.newCart,
		grain.Method("Add", (*cart).add),
		grain.Method("Note", (*cart).note),
		grain.Method("Sink", (*cart).sink),
		grain.Method("Quit", (*cart).quit))
	k.MaxNewRate = 1_000_000
	return k
}

func (p *process) newCart(self grain.Self) (*cart, error) {
	g := &cart{p: p, id: self.Identity(), self: self, heard: map[string]int{}}
	p.w.ledgerSpawn(p, g.id, self.View())
	if v := self.View(); v != nil {
		g.view = stampOf(v)
	}
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	g.made = w.now()
	p.born[g.id]++
	g.token = token(p.name, g.id.Key, p.born[g.id])
	p.eventLocked("activates", g.id.Key, g.token)
	return g, nil
}

func token(process, key string, number uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, process, " ", key, " ", number) // it cannot fail
	return h.Sum64()
}

// turn is begun by everything that the grain does.
func (g *cart) turn(first, last bool) (end func()) {
	w := g.p.w
	alone := g.turns.Add(1) == 1
	w.check("S9", alone, func() string { return fmt.Sprintf("two turns of %s at once on %s", g.id.Key, g.p.name) })
	w.check("S9", g.started == !first && !g.stopped, func() string {
		return fmt.Sprintf("a turn of %s on %s before the first or after the last", g.id.Key, g.p.name)
	})
	g.started = true
	g.stopped = g.stopped || last
	return func() { g.turns.Add(-1) }
}

// Activate is the first turn.
func (g *cart) Activate(context.Context) error {
	defer g.turn(true, false)()
	w := g.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	g.p.running[g.id]++
	w.checkLocked("S1", g.p.running[g.id] == 1, func() string {
		return fmt.Sprintf("%d activations of %s on %s", g.p.running[g.id], g.id.Key, g.p.name)
	})
	w.checkMoved(g)
	return nil
}

// Deactivate is the last turn.
func (g *cart) Deactivate(context.Context, core.StopReason) error {
	defer g.turn(false, true)()
	if slices.Contains(g.p.w.ids[:slow], g.id) {
		time.Sleep(1 + time.Duration(g.token%uint64(last)))
	}
	w := g.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	g.p.running[g.id]--
	return nil
}

// add is a call: it is not to run twice.
func (g *cart) add(ctx context.Context, a ask) (uint64, error) {
	defer g.turn(false, false)()
	g.handled(ctx, a)
	g.pass(a.Number)
	g.calls++
	return g.token, nil
}

func (g *cart) handled(ctx context.Context, a ask) {
	if f := g.p.w.plant.handle; f != nil {
		f(ctx, g, a)
	}
	g.p.w.handled(ctx, g, a)
}

// note is a message of a stream, to which nobody waits for an answer.
func (g *cart) note(ctx context.Context, a ask) (bool, error) {
	defer g.turn(false, false)()
	g.handled(ctx, a)
	w := g.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ledger.byNumber[a.Number]
	if r == nil {
		return true, nil
	}
	last := g.heard[a.Sender]
	g.heard[a.Sender] = max(last, a.Place)
	w.checkLocked("S8", a.Place > last, func() string {
		return fmt.Sprintf("%s got message %d of %s after %d", g.id.Key, a.Place, a.Sender, last)
	})
	return true, nil
}

// sink takes what is large, and forgets it.
func (g *cart) sink(context.Context, []byte) (bool, error) {
	defer g.turn(false, false)()
	return true, nil
}

// quit has the activation end when its queue is done.
func (g *cart) quit(context.Context, bool) (bool, error) {
	defer g.turn(false, false)()
	g.self.Stop()
	return true, nil
}
