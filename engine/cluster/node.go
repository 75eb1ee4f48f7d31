// Package cluster is the front door of Granary: a Node is one member of a cluster, or one client of
// it, and the one type that an application holds.
//
// A node is made of parts: who is in the cluster (core.Provider), where identities live (core.Lookup),
// the kinds of grains it hosts, and some roles that may stay empty. New checks that they fit, Start
// brings the node up and returns when it is ready, Call and Tell reach grains wherever they live, and
// Stop takes the node out of the cluster without losing calls. Single gives the parts of a node that
// is alone in its process.
//
// # A call
//
// A call finds its grain in the location cache, or by the lookup, and goes to the mailbox of its
// activation, in this process or over the network. It is tried again only while it is known not to
// have run, or if the method is declared idempotent; what a failed call says of its fate is
// core.DeliveryOf. Deadlines, cancels and headers travel with it. A call that comes back to a grain
// which waits for it runs if the method is reentrant, and fails at once otherwise.
//
// # An activation
//
// A grain is made when it is first called, one turn at a time runs its code, and it ends when it was
// idle for its kind's time, when its identity moves to another member, when it panics, when it asks
// for it, or with the node. Between two activations nothing is lost: calls that come while one ends
// are handed to the next.
//
// # A view
//
// Reports of the provider become views (engine/internal/membership); each is installed in one order:
// links to members, the location cache, the lookup, services, observers. Messages that place grains
// carry the view under which they were sent, and wait at a member that does not have it yet. What happens
// to members is told by Subscribe, and put on the stream of Events.
//
// # Who is dead
//
// Only the provider, or an operator, takes a member out. A member from which nothing has come for
// Config.ProbeMisses intervals of Config.ProbeInterval, or at whose address nobody listens, is a suspect:
// nothing new is placed there, and where its grains are is asked anew. Where the provider keeps the view
// in one record (core.ViewStore), suspicion is a vote in it, and two votes evict; else the provider's own
// time decides.
// A member whose own timers are late is more patient, and not ready. Block is the operator's.
//
// # Which lookup honours which strategy
//
// A strategy is a kind's own (grain.Kind.Strategy); all of them avoid suspects. Who does not host the kind does
// not know it, and asks a host where an identity lives.
//
//	lookup                     nil, Rendezvous   RoundRobin, LocalFirst, LeastActivations, users' own
//	a directory (memory)       honoured          honoured
//	a core.Router (disthash)   it is ownership   New refuses them: core.ErrUnsupported
package cluster

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/group"
	"github.com/granary-go/granary/engine/internal/membership"
	"github.com/granary-go/granary/engine/internal/pidcache"
	"github.com/granary-go/granary/engine/internal/ratelimit"
	"github.com/granary-go/granary/engine/remote"
)

// Node is one member of a cluster, or one client of it: what an application holds. It is safe for
// concurrent use. Make it with New, then Start it, and Stop it at the end; or Run it.
type Node struct {
	cfg       Config
	parts     Components
	id        core.MemberID
	kinds     map[string]*kind
	timed     bool          // some method of them has a time of its own
	anyHost   core.Strategy // whom to ask about kinds that are not hosted here
	promises  core.Promises
	router    core.Router          // nil: the lookup places by asking
	holder    core.Holder          // nil: the lookup never holds an identity back
	released  core.ReleaseListener // nil: the lookup does not want to know
	store     core.ViewStore       // nil: there is none, so that the provider judges alone
	tellsEnds bool

	clock    core.Clock
	log      *slog.Logger
	observer grain.Observer
	seed     uint64
	calls    grain.CallFunc   // nil: no interceptor
	tells    grain.TellFunc   // nil: no interceptor
	handle   grain.HandleFunc // nil: no interceptor

	base   context.Context // of turns; ends when a stop becomes hard
	cancel context.CancelCauseFunc
	group  *group.Group // of everything that Stop joins
	after  *group.Group // of stops that nobody asked for

	remote     *remote.Remote
	sys        *actor.System // from the second step of Start on
	cache      *pidcache.Cache
	localCalls sync.Pool // of *localCall
	contexts   sync.Pool // of *contextBatch
	acts       *table
	rates      *ratelimit.Limiter
	routed     routedCalls
	viewParked parking
	queues     queues
	resolving  atomic.Int64 // lookups for clients under way
	notices    notices
	handlers   sync.Map // of services: *process by name
	leaving    leaving
	views      views
	news       news
	suspicion  suspicion
	gossip     *gossiper
	broadcasts map[string]protoreflect.MessageType
	links      links
	self       atomic.Pointer[core.Member]
	coarse     atomic.Int64 // nanoseconds since the node was made, as of the last sweep
	made       time.Time
	sweep      time.Duration // between two looks at idle activations; 0: none
	events     atomic.Pointer[actor.EventStream]

	open          atomic.Bool // calls are taken
	departed      atomic.Bool // this node has left the view, or does, and so places what runs here elsewhere
	draining      atomic.Bool // nothing new is activated
	halted        atomic.Bool // nothing waits for a view any more
	fenced        atomic.Bool // activations end without saving
	lookupStopped atomic.Bool

	parkedBytes atomic.Int64 // of the calls that wait here for a view or for an activation's end

	random func() float64
	life   life
}

// New makes a node of its parts. It checks everything, joins all complaints, does no I/O and starts
// nothing.
func New(cfg Config, parts Components) (*Node, error) {
	cfg = cfg.withDefaults()
	kinds, err := parts.kinds(cfg.Client)
	broadcasts, wrong := cfg.broadcastTypes()
	if err := errors.Join(cfg.check(), wrong, err, parts.check(), parts.checkAlone(cfg)); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, parts: parts, kinds: kinds, id: cfg.Seams.NewMemberID(), promises: parts.Provider.Promises()}
	for _, k := range kinds {
		for m := range k.Methods() {
			n.timed = n.timed || m.Timeout > 0
		}
	}
	n.router, _ = parts.Lookup.(core.Router)
	n.holder, _ = parts.Lookup.(core.Holder)
	n.store, n.broadcasts = parts.viewStore(), broadcasts
	n.released, _ = parts.Lookup.(core.ReleaseListener)
	// A lookup that keeps a directory is told itself; its callers learn at their next call.
	n.tellsEnds = n.router != nil || n.released == nil
	n.clock = cfg.Seams.Clock
	n.made = n.clock.Now()
	n.log = cfg.Logger.With("member", string(n.id))
	n.observer = n.protected(parts.Telemetry.Observer)
	if n.seed = cfg.Seams.Seed; n.seed == 0 {
		n.seed = rand.Uint64()
	}
	n.random = n.newRandom()
	n.base, n.cancel = context.WithCancelCause(context.Background()) // the one root of this service
	n.group, n.after = group.New(), group.New()
	n.cache, n.rates = pidcache.New(cfg.CacheSize), ratelimit.New(n.clock)
	n.acts = newTable(n.cache.Hash)
	n.views.init()
	n.news.machine = membership.NewEvents(n.ownID())
	n.life.init()
	if len(parts.Interceptors) > 0 {
		n.calls = parts.Interceptors.Call(n.callIntercepted)
		n.tells = parts.Interceptors.Tell(n.tell)
		n.handle = parts.Interceptors.Handle(grain.Invoke)
	}
	if n.gossip, err = newGossiper(n); err != nil {
		return nil, err
	}
	n.bindStrategies()
	if n.remote, err = remote.New(n.remoteConfig()); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return n, nil
}

func (n *Node) remoteConfig() remote.Config {
	return remote.Config{
		Cluster: n.cfg.Name, Member: n.id, Address: n.cfg.Address, Advertise: n.cfg.Advertise, Client: n.cfg.Client,
		TLS: n.cfg.TLS, InsecureAllowPlaintext: n.cfg.InsecureAllowPlaintext,
		Limits: n.cfg.Limits, Transport: n.cfg.Seams.Transport, Types: wireform.Types(), Errors: wireform.ErrorCodec{}, Authorize: n.authorize,
		Observer: n.remoteObserver(),
		Env:      n.env("remote"),
	}
}

// authorize says what a peer may send. Members may send everything; a client may call grains and ask what
// the members say of themselves, with a message that has no room for state, and nothing else.
func (n *Node) authorize(from remote.Peer, target, typ string) error {
	if !from.Client {
		return nil
	}
	toGrain := target == processGrain || len(target) > len(activationPrefix) && target[:len(activationPrefix)] == activationPrefix
	if toGrain && (typ == wireform.TypeGrainRequest || typ == wireform.TypeCancelCall) || target == processGossip && typ == convert.TypeStateQuery {
		return nil
	}
	n.count("cluster.clients.refused", 1)
	if typ == convert.TypeGossipRequest {
		n.gossip.countRefused(1)
	}
	return fmt.Errorf("cluster: a client may call grains and ask for state, it may not send %.80q to %.80q: %w", typ, target, core.ErrUnsupported)
}

// env is what the node lends to a part.
func (n *Node) env(component string) core.Env {
	hooks := n.parts.Telemetry.Hooks
	return core.Env{
		Logger: n.log.With("component", component),
		Clock:  n.clock,
		Rand:   n.source(component),
		Hooks:  &hooks,
		Go:     n.group.Go,
	}
}

// source is a stream of chance of its own for each component, derived from the seed.
func (n *Node) source(component string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(component)) // it never fails
	return rand.New(rand.NewPCG(n.seed, h.Sum64()))
}

// jitterOf is the chance by which the tries of one call are spread. Where a test has set the seed it is of the call
// alone, and does not depend on which of several calls fails first.
func (n *Node) jitterOf(ctx context.Context, id core.Identity) func() float64 {
	at, ok := ctx.Deadline()
	if !ok || n.cfg.Seams.Seed == 0 {
		return n.random
	}
	return n.source(fmt.Sprint("call ", id, at.UnixNano())).Float64
}

// newRandom is the stream of jitters, which all callers share.
func (n *Node) newRandom() func() float64 {
	var mu sync.Mutex
	source := n.source("call")
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return source.Float64()
	}
}

// withTimeout bounds ctx by the node's clock.
func (n *Node) withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := n.clock.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// ID is the name of this start of the process.
func (n *Node) ID() core.MemberID { return n.id }

// Address is what peers dial; empty before the first step of Start, and for a client.
func (n *Node) Address() string { return n.Self().Address }

// Ready is closed when Start has succeeded.
func (n *Node) Ready() <-chan struct{} { return n.life.ready }

// Run starts the node, waits until ctx ends, and stops it. It returns nil after a clean stop, and
// core.ErrEvicted if the cluster has put the member out: then the process has to start anew.
func (n *Node) Run(ctx context.Context) error {
	if err := n.Start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-n.life.dead:
	}
	return errors.Join(n.life.cause(), n.Stop(context.WithoutCancel(ctx)))
}

var _ grain.Caller = (*Node)(nil)

// KindInfo is what a node knows of one of its kinds.
type KindInfo struct {
	Name string
	Live int64 // activations on this node that have not ended
}

// Kinds tells of each kind of this node how many activations are live, in order of name. The counts
// are exact at any moment: an activation counts from its making to the end of its last turn.
func (n *Node) Kinds() []KindInfo {
	out := make([]KindInfo, 0, len(n.kinds))
	for _, name := range slices.Sorted(maps.Keys(n.kinds)) {
		out = append(out, KindInfo{name, n.kinds[name].live.Load()})
	}
	return out
}

// live is the number of all live activations.
func (n *Node) live() int64 {
	var sum int64
	for _, k := range n.kinds {
		sum += k.live.Load()
	}
	return sum
}

// Activations walks what runs on this node, in no order. It does not hold up anybody.
func (n *Node) Activations() iter.Seq[core.Activation] {
	return func(yield func(core.Activation) bool) {
		for a := range n.acts.all() {
			if !yield(a.Activation()) {
				return
			}
		}
	}
}

// Where tells where the node would send a call of id now, if it knows without asking anybody: it
// runs here, or the cache has it, or ownership alone decides.
func (n *Node) Where(id core.Identity) (core.MemberID, bool) {
	if e, ok := n.known(id); ok {
		return e.PID.Member, true
	}
	if n.router != nil && n.View() != nil {
		if owner, ok := n.router.Owner(id); ok {
			return owner.ID, true
		}
	}
	return "", false
}

// Health is the state of a node in brief.
type Health struct {
	Live bool // the node runs
	// Ready: it is Up in the installed view and takes calls, and its own timers are in time; for a client:
	// it has a view.
	Ready bool
	Epoch uint64
	// Members that are in the installed view, of any status.
	Members int
	// Suspects are the members that are suspected to be dead, in ascending order.
	Suspects []core.MemberID
	// Cached is how many locations of grains on other members are remembered.
	Cached int
}

// Health tells how the node is.
func (n *Node) Health() Health {
	n.life.mu.Lock()
	running := n.life.stage == stageRunning && n.life.fatal == nil
	n.life.mu.Unlock()
	h := Health{Live: running, Cached: n.cache.Len()}
	v := n.View()
	if v == nil {
		return h
	}
	m, _ := v.Member(n.id)
	h.Epoch, h.Members = v.Epoch(), v.Len()
	h.Ready = running && (n.cfg.Client || m.Status == core.Up) && !n.suspicion.sick.Load()
	h.Suspects = n.suspicion.list()
	return h
}

// Events is the stream of events of the node: core.Topology for each view, each Event, what Broadcast
// brings, and what the actor system publishes. Nil before the second step of Start; Subscribe tells Events
// alone, and of those that come before too.
func (n *Node) Events() *actor.EventStream { return n.events.Load() }

// protect calls code of a part or of the application on a goroutine of the engine. A panic in it goes
// to the log and becomes the error.
func (n *Node) protect(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			n.panicked(what, v)
			err = fmt.Errorf("cluster: panic in %s: %v", what, v)
		}
	}()
	return f()
}

// caught is deferred around a function that returns nothing.
func (n *Node) caught(what string) {
	if v := recover(); v != nil {
		n.panicked(what, v)
	}
}

func (n *Node) panicked(what string, v any) {
	n.log.Error("cluster: panic in "+what, "panic", v, "stack", string(debug.Stack()))
}

// protected is o with functions that do not panic. That of actors is protected where it is used.
func (n *Node) protected(o grain.Observer) grain.Observer {
	if f := o.Topology; f != nil {
		o.Topology = func(t core.Topology) { defer n.caught("Observer.Topology"); f(t) }
	}
	if f := o.Activated; f != nil {
		o.Activated = func(a core.Activation, took time.Duration) { defer n.caught("Observer.Activated"); f(a, took) }
	}
	if f := o.Deactivated; f != nil {
		o.Deactivated = func(a core.Activation, why core.StopReason) { defer n.caught("Observer.Deactivated"); f(a, why) }
	}
	if f := o.Resolved; f != nil {
		o.Resolved = func(id core.Identity, source string, took time.Duration, err error) {
			defer n.caught("Observer.Resolved")
			f(id, source, took, err)
		}
	}
	if f := o.Retried; f != nil {
		o.Retried = func(id core.Identity, attempt int, err error) {
			defer n.caught("Observer.Retried")
			f(id, attempt, err)
		}
	}
	if f := o.Fenced; f != nil {
		o.Fenced = func(a core.Activation) { defer n.caught("Observer.Fenced"); f(a) }
	}
	return o
}
