package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/remote"
)

// life is where a node is between New and the end of Stop.
type life struct {
	mu     sync.Mutex
	stage  stage
	undo   []step             // what Stop or a failed Start has to do, oldest first
	abort  context.CancelFunc // ends a Start that is under way
	err    error              // what Stop returns
	fatal  error              // why the node stopped by itself
	ready  chan struct{}      // closed when Start has succeeded
	dead   chan struct{}      // closed when the node begins to stop by itself
	over   chan struct{}      // closed when Stop has done everything
	ending bool

	watching bool // the owner of the membership runs
}

type stage uint8

const (
	stageNew stage = iota
	stageStarting
	stageRunning
	stageStopping
	stageStopped
)

// The order of a stop: the greatest first. It is not quite that of the start in reverse: services
// and the lookup hand over while the member is still seen, and answers drain before links are closed.
const (
	stopGoroutines = iota
	stopNetwork
	stopActors
	stopLoops
	stopProvider
	stopLookup
	stopServices // and more of them above
	stopDrain    = 1<<20 + iota
	stopSeen
	stopAnnounce
)

// step is one thing to undo.
type step struct {
	order int
	name  string
	share int // of the time for stopping, in hundredths
	do    func(ctx context.Context) error
}

func (l *life) init() {
	l.ready, l.dead, l.over = make(chan struct{}), make(chan struct{}), make(chan struct{})
}

func (l *life) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// Start brings the node up, in the order in which the parts need each other, so that everything that
// serves runs before anybody can see the member. Nil means ready: the member is Up, MinMembers are,
// links to all of them are open, and they take its calls. A failing step undoes those before it. Start
// may be called once; ctx bounds it and nothing else: it waits for members that are in the view, until
// they answer or the provider has taken them out. When ctx ends before, the error names what was missing,
// and is a core.ErrUnreachable and the cause of ctx.
func (n *Node) Start(ctx context.Context) error {
	ctx, abort := context.WithCancel(ctx)
	defer abort()
	n.life.mu.Lock()
	if n.life.stage != stageNew {
		defer n.life.mu.Unlock()
		if n.life.stage >= stageStopping {
			return fmt.Errorf("cluster: start: the node has been stopped; make a new one: %w", core.ErrStopped)
		}
		return fmt.Errorf("cluster: start: the node was started before: %w", core.ErrInvalid)
	}
	n.life.stage, n.life.abort = stageStarting, abort
	n.life.mu.Unlock()

	err := n.start(ctx)
	n.life.mu.Lock()
	if err == nil && !n.life.ending {
		n.life.stage = stageRunning
		close(n.life.ready)
		n.life.mu.Unlock()
		return nil
	}
	n.life.stage = stageStopping
	n.life.mu.Unlock()
	if err == nil || n.life.cause() != nil || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.Join(err, n.life.cause(), n.stoppedDuringStart())
	}
	return errors.Join(err, n.finish(context.WithoutCancel(ctx)))
}

func (n *Node) stoppedDuringStart() error {
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	if !n.life.ending {
		return nil
	}
	return fmt.Errorf("cluster: start: stopped: %w", core.ErrStopped)
}

// start does the steps. Each adds what undoes it.
func (n *Node) start(ctx context.Context) error {
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"listen", n.listen},
		{"system", n.startSystem},
		{"kinds", n.registerKinds},
		{"lookup", n.startLookup},
		{"loops", n.startLoops},
		{"services", n.startServices},
		{"join", n.join},
		{"view", n.awaitView},
		{"up", n.goUp},
		{"ready", n.awaitReady},
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cluster: start: %s: %w", s.name, err)
		}
		n.cfg.Seams.Step("start." + s.name)
		quiet := n.clock.AfterFunc(startPatience, func() {
			n.log.Warn("cluster: start still waits", "step", s.name, "missing", n.disagreeing())
		})
		err := n.protect("start", func() error { return s.do(ctx) })
		quiet()
		if err != nil {
			return fmt.Errorf("cluster: start: %s: %w", s.name, err)
		}
	}
	return nil
}

// startPatience is after how long the log tells in which step a start waits, and for whom.
const startPatience = 10 * time.Second

func (n *Node) onStop(order int, name string, share int, do func(ctx context.Context) error) {
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	n.life.undo = append(n.life.undo, step{order, name, share, do})
}

func (n *Node) listen(ctx context.Context) error {
	n.onStop(stopGoroutines, "goroutines", 3, n.joinAll)
	n.onStop(stopNetwork, "network", 12, n.closeNetwork)
	address, err := n.remote.Listen(ctx)
	if err != nil {
		return err
	}
	n.self.Store(&core.Member{
		ID: n.id, Address: address, Kinds: slices.Sorted(maps.Keys(n.kinds)), Status: core.Joining,
		Weight: n.cfg.Weight, Joined: uint64(n.clock.Now().UnixMilli()), Protocol: remote.Protocol(),
	})
	return nil
}

func (n *Node) startSystem(context.Context) error {
	sys, err := actor.New(actor.Config{
		Member: n.id, Address: n.Self().Address, Logger: n.log, Clock: n.clock, Observer: n.observer.Observer, Go: n.group.Go,
	})
	if err != nil {
		return err
	}
	n.sys = sys
	n.events.Store(sys.Events())
	n.onStop(stopActors, "actors", 10, n.endActors)
	processes := map[string]actor.Process{
		processGrain:     router{n},
		processLookup:    &process{n: n, name: processLookup, request: wireform.TypeLookup, response: wireform.TypeLookupAnswer, viewed: true, handle: n.handleLookup},
		processProbe:     prober{},
		processBroadcast: &process{n: n, name: processBroadcast, request: wireform.TypeProcess, response: wireform.TypeProcessAnswer, handle: n.handleBroadcast},
		processGossip:    &gossipProcess{g: n.gossip},
	}
	for _, name := range slices.Sorted(maps.Keys(processes)) {
		if _, err := sys.Register(name, processes[name]); err != nil {
			return err
		}
	}
	n.remote.AllowRaw(processGrain, wireform.TypeGrainRequest, wireform.TypeCancelCall, wireform.TypeTerminated)
	n.remote.AllowRaw(activationPrefix, wireform.TypeGrainRequest, wireform.TypeCancelCall)
	n.remote.AllowRaw(processLookup, wireform.TypeLookup)
	n.remote.AllowRaw(processGossip, convert.TypeGossipRequest, convert.TypeStateQuery)
	n.remote.AllowRaw(processProbe, wireform.TypeProcess)
	n.remote.AllowRaw(processBroadcast, wireform.TypeProcess)
	return n.remote.Start(sys)
}

// registerKinds is where the kinds become known; New has checked them.
func (n *Node) registerKinds(context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(n.kinds)) {
		n.log.Debug("cluster: kind registered", "kind", name)
	}
	return nil
}

func (n *Node) startLookup(ctx context.Context) error {
	return n.startPart(step{stopLookup, "lookup", 10, n.stopLookup}, func() error {
		return n.parts.Lookup.Start(ctx, host{n}, n.env("lookup"))
	})
}

// startPart starts a part. Stop has to end it, also when it has failed or panicked half-way, unless it says
// that nothing was begun: then it may serve another node, which goes on.
func (n *Node) startPart(undo step, start func() error) (err error) {
	defer func() {
		if !errors.Is(err, core.ErrInvalid) {
			n.onStop(undo.order, undo.name, undo.share, undo.do)
		}
	}()
	return start()
}

// startLoops starts the goroutines that own the views, gossip and the passivation.
func (n *Node) startLoops(context.Context) error {
	stop := make(chan struct{})
	n.gossip.start()
	n.group.Go("views", func() { n.watchViews(stop) })
	n.watch(true)
	if n.sweep = n.sweepPeriod(); n.sweep > 0 {
		n.group.Go("passivation", func() { n.sweepIdle(stop) })
	}
	n.onStop(stopLoops, "loops", 2, func(context.Context) error {
		n.watch(false)
		close(stop)
		n.gossip.stop()
		close(n.views.over)
		n.halted.Store(true)
		n.links.close()
		for _, c := range n.viewParked.take() {
			n.reroute(c.in)
		}
		n.tellEnds(n.notices.take())
		return nil
	})
	return nil
}

func (n *Node) startServices(ctx context.Context) error {
	n.open.Store(true) // services call grains, and grains each other, before the member is visible
	for i, s := range n.parts.Services {
		undo := step{stopServices + i, fmt.Sprintf("service %d", i), max(1, 10/len(n.parts.Services)), s.Stop}
		err := n.startPart(undo, func() error { return s.Start(ctx, n.runtime(fmt.Sprintf("service%d", i))) })
		if err != nil {
			return fmt.Errorf("service %d (%T): %w", i, s, err)
		}
	}
	return nil
}

// join makes the member visible, or has a client watch.
func (n *Node) join(ctx context.Context) error {
	env := n.env("provider")
	return n.startPart(step{stopProvider, "provider", 10, n.leave}, func() error {
		if n.cfg.Client {
			return n.parts.Provider.Watch(ctx, env, n.report)
		}
		return n.parts.Provider.Join(ctx, env, n.Self(), n.report)
	})
}

// leave takes the member out of the provider.
func (n *Node) leave(ctx context.Context) error {
	if simbug.On("leave-re-registers") {
		return n.parts.Provider.Update(ctx, n.Self())
	}
	err := n.parts.Provider.Leave(ctx)
	if n.fenced.Load() && errors.Is(err, core.ErrEvicted) {
		return nil // it is out
	}
	return err
}

func (n *Node) awaitView(ctx context.Context) error {
	err := n.await(ctx, func(v *core.View) bool {
		_, listed := v.Member(n.id)
		return listed || n.cfg.Client
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("the provider %T has shown no view with this member: %w: %w", n.parts.Provider, core.ErrUnreachable, err)
	}
	return err
}

func (n *Node) goUp(ctx context.Context) error {
	if n.cfg.Client {
		return nil
	}
	n.planLeave()
	return n.setStatus(ctx, core.Up)
}

// setStatus stores this member's own row with another status.
func (n *Node) setStatus(ctx context.Context, s core.Status) error {
	m := n.Self()
	m.Status = s
	return n.parts.Provider.Update(ctx, m)
}

// awaitReady waits until the member is seen as Up among enough others, links to all of them are open, and
// all say that they have the same view: so they have it in their views and take its calls.
func (n *Node) awaitReady(ctx context.Context) error {
	for {
		if err := n.await(ctx, n.enough); err != nil {
			return n.tooFew(ctx, err)
		}
		at := n.views.current.Load()
		var peers []core.MemberID
		for m := range at.view.All() {
			if m.ID != n.id && m.Status != core.Leaving {
				peers = append(peers, m.ID)
			}
		}
		waiting, cancel := context.WithCancelCause(ctx)
		done := make(chan struct{})
		n.group.Go("ready", func() {
			select {
			case <-at.next: // a member that cannot be reached may be gone by now
				cancel(errViewMoved)
			case <-done:
			}
		})
		err := n.remote.Connected(waiting, peers)
		close(done)
		moved := errors.Is(context.Cause(waiting), errViewMoved)
		cancel(nil)
		switch {
		case err == nil:
			return n.awaitConsensus(ctx)
		case !moved:
			return err
		}
	}
}

// awaitConsensus waits until all members have the view that this one has: whoever stops the next member
// of a rolling restart now finds a cluster in which everybody knows of this one.
func (n *Node) awaitConsensus(ctx context.Context) error {
	if n.cfg.Client {
		return nil
	}
	_, err := n.TopologyConsensus(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("members %v have not said that they have the view of this one: %w: %w", n.disagreeing(), core.ErrUnreachable, err)
	}
	return err
}

// tooFew is the error of a start that has ended before enough members were Up.
func (n *Node) tooFew(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	up := 0
	if v := n.View(); v != nil {
		for m := range v.All() {
			if m.Status == core.Up {
				up++
			}
		}
	}
	return fmt.Errorf("%d members are up, MinMembers is %d: %w: %w", up, n.cfg.MinMembers, core.ErrUnreachable, err)
}

// disagreeing lists the members of the view that have not said that they have it.
func (n *Node) disagreeing() (ids []core.MemberID) {
	v := n.View()
	if v == nil {
		return nil
	}
	for m := range v.All() {
		said, _ := n.gossip.states.get(m.ID, gossip.KeyTopology)
		if t, err := convert.TopologyFromMessage(said.Message); err != nil || t.Hash != v.Hash() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

var errViewMoved = errors.New("the view has moved")

// enough reports whether v has this member and MinMembers in all Up.
func (n *Node) enough(v *core.View) bool {
	up, self := 0, n.cfg.Client
	for m := range v.All() {
		if m.Status == core.Up {
			up++
			self = self || m.ID == n.id
		}
	}
	return self && up >= n.cfg.MinMembers
}
