package cluster

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/group"
	"github.com/granary-go/granary/engine/internal/membership"
	"github.com/granary-go/granary/engine/internal/pidcache"
	"github.com/granary-go/granary/engine/internal/ratelimit"
	"github.com/granary-go/granary/engine/internal/wireform"
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
	anyKind   core.Strategy // of kinds that are not hosted here
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
	n.cache, n.acts, n.rates = pidcache.New(cfg.CacheSize), newTable(), ratelimit.New(n.clock)
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
