package cluster

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/strategy"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/remote"
)

// Config is what a deployment sets; the zero value is one loopback member.
type Config struct {
	// Name is the name of the cluster: 1 to 64 bytes of letters, digits, '_', '-', '.'. Members of
	// another name are refused. Default "granary".
	Name string

	// Address is where to listen, host:port. Default "127.0.0.1:0": loopback, a port that the
	// system picks. Clients do not listen.
	Address string

	// Advertise is what peers dial, host:port; port 0 stands for the port that was bound. Default:
	// what was bound.
	Advertise string

	// TLS secures all connections and proves who peers are. It is used both to listen and to dial.
	// Default: plaintext, on loopback addresses only.
	TLS *tls.Config

	// InsecureAllowPlaintext lets New accept an address that is not loopback without TLS: anybody
	// who reaches the port then acts as a member. Default: refused.
	InsecureAllowPlaintext bool

	// Client makes a node that hosts nothing: it watches the members and calls grains, it does not
	// listen, and it is not seen in views. On each member all clients share one limit of new
	// activations a second and kind (grain.Kind.MaxNewRate; each other member has one of its own):
	// whoever may connect as a client can do so again under another ID, so a limit for each would be
	// none.
	Client bool

	// MinMembers is how many members, this one included, must be Up before Start returns. Default 1.
	MinMembers int

	// Weight is this member's share of ownership, in comparison with the others' weights. Default 100.
	Weight uint16

	// CallTimeout bounds how long a call whose ctx has no deadline looks for its grain. Once the
	// grain has the call, such a call waits for as long as the method takes, while the link to its
	// member lives. Default 10 s.
	CallTimeout time.Duration

	// StopTimeout bounds Stop. Default 10 s; 30 s suits grains that have much to save.
	StopTimeout time.Duration

	// CacheSize is how many locations of grains on other members the node remembers. Each costs about 250 bytes. Default 262,144.
	CacheSize int

	// RemovalGrace is how long a member is kept in the view that a provider without an order reports no
	// more, in case it is a flap: it costs a call to a member that has died, and spares moving all its
	// grains. Negative: none. Default: what the provider says (core.Patient), else 2 s. It has no meaning
	// for providers with an order, whose views are installed as they are.
	RemovalGrace time.Duration

	// ProbeInterval is how often a member from which nothing came is asked whether it is there. Default
	// 1 s. All members should have the same.
	ProbeInterval time.Duration

	// ProbeMisses is how many intervals in a row without any answer make a member suspect: nothing new is
	// placed there, and, where the provider keeps the view in one record (core.ViewStore), two such
	// members take it out. Default 3.
	ProbeMisses int

	// Broadcasts lists the types of the messages that Broadcast may send and that are taken from others,
	// one value of each. Default: none.
	Broadcasts []proto.Message

	// Gossip is how members spread what they say of themselves: their view, their load, and the keys
	// that the application sets. Default: as GossipConfig says.
	Gossip GossipConfig

	// Limits bounds what passes between members. Default: remote's own defaults.
	Limits remote.Limits

	// Logger gets what the node has to say. Default slog.Default().
	Logger *slog.Logger

	// Seams replaces the real world in tests.
	Seams Seams
}

// Seams is where tests replace the real world. The zero value is the real world.
type Seams struct {
	Clock       core.Clock           // default core.SystemClock
	Transport   remote.Transport     // default remote.TCP
	Seed        uint64               // of all chance; 0: drawn at random, and logged
	NewMemberID func() core.MemberID // default: 128 random bits
	Step        func(step string)    // told each step of Start and Stop as it begins, in order
}

// The defaults of Config.
const (
	defaultName        = "granary"
	defaultAddress     = "127.0.0.1:0"
	defaultCallTimeout = 10 * time.Second
	defaultStopTimeout = 10 * time.Second
	defaultCacheSize   = 1 << 18

	defaultProbeInterval = time.Second
)

// maxName bounds the name of a cluster: it is part of every handshake.
const maxName = 64

// withDefaults fills in what was not set.
func (c Config) withDefaults() Config {
	set(&c.Name, defaultName)
	set(&c.Address, defaultAddress)
	set(&c.MinMembers, 1)
	set(&c.ProbeInterval, defaultProbeInterval)
	set(&c.CallTimeout, defaultCallTimeout)
	set(&c.StopTimeout, defaultStopTimeout)
	set(&c.CacheSize, defaultCacheSize)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Seams.Clock == nil {
		c.Seams.Clock = core.SystemClock{}
	}
	if c.Seams.Transport == nil {
		c.Seams.Transport = remote.TCP()
	}
	if c.Seams.NewMemberID == nil {
		c.Seams.NewMemberID = newMemberID
	}
	if c.Seams.Step == nil {
		c.Seams.Step = func(string) {}
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func newMemberID() core.MemberID {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails: crypto/rand ends the process instead
	return core.MemberID(convert.ShortUUID(id))
}

// check complains about what c says, after defaults.
func (c Config) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("cluster: "+format+": %w", append(args, core.ErrInvalid)...))
	}
	if len(c.Name) > maxName || strings.IndexFunc(c.Name, notNameRune) >= 0 {
		bad("Name %.80q: want 1 to %d letters, digits, '_', '-', '.'", c.Name, maxName)
	}
	if c.MinMembers < 0 {
		bad("MinMembers %d: want 1 or more", c.MinMembers)
	}
	if c.CallTimeout < 0 || c.StopTimeout < 0 {
		bad("CallTimeout %v, StopTimeout %v: want more than 0", c.CallTimeout, c.StopTimeout)
	}
	if c.ProbeInterval < 0 || c.ProbeMisses < 0 {
		bad("ProbeInterval %v, ProbeMisses %d: want more than 0", c.ProbeInterval, c.ProbeMisses)
	}
	if c.CacheSize < 0 {
		bad("CacheSize %d: want more than 0", c.CacheSize)
	}
	return errors.Join(errs...)
}

func notNameRune(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
}

// Components are the parts of a node, one field a role.
type Components struct {
	Provider     core.Provider  // who is in the cluster; required
	Lookup       core.Lookup    // where an identity lives; required
	Kinds        grain.Kinds    // what this member hosts; none: it hosts nothing
	Services     grain.Services // parts that bring kinds and processes of their own
	Interceptors grain.Interceptors
	Telemetry    Telemetry

	alone *memory.Provider `wire:"-"` // of Single: it shows nobody but its own member
}

// Telemetry is one role: what plug-ins report and what the engine sees. The zero value sees nothing.
type Telemetry struct {
	Hooks    core.Hooks
	Observer grain.Observer
}

// Single gives the components of a node that is alone in its process: provider and lookup of a
// memory.Hub of its own.
func Single(kinds ...grain.Kind) Components {
	hub := memory.NewHub()
	members := hub.Provider()
	return Components{Provider: members, Lookup: hub.Lookup(), Kinds: kinds, alone: members}
}

// checkAlone refuses what would wait for others for ever.
func (p Components) checkAlone(cfg Config) error {
	members, ok := p.Provider.(*memory.Provider)
	if !ok || members != p.alone {
		return nil
	}
	const way = "Single is alone in its process, so nobody would ever be seen; give Components the Provider and the Lookup of the cluster"
	switch {
	case cfg.Client:
		return fmt.Errorf("cluster: a client of Single: %s: %w", way, core.ErrInvalid)
	case cfg.MinMembers > 1:
		return fmt.Errorf("cluster: MinMembers %d with Single: %s: %w", cfg.MinMembers, way, core.ErrInvalid)
	}
	return nil
}

// kinds makes the runtime form of all kinds, those of services included, and complains about what
// the parts cannot back.
func (p Components) kinds(client bool) (map[string]*kind, error) {
	var errs []error
	for i, s := range p.Services {
		if s == nil {
			errs = append(errs, fmt.Errorf("cluster: service %d is nil: %w", i, core.ErrInvalid))
		}
	}
	all := p.allKinds()
	kinds := map[string]*kind{}
	for _, k := range all {
		if err := k.Check(); err != nil {
			errs = append(errs, fmt.Errorf("cluster: %w", err))
			continue
		}
		if kinds[k.Name] != nil {
			errs = append(errs, fmt.Errorf("cluster: two kinds are named %q; rename one: %w", k.Name, core.ErrInvalid))
			continue
		}
		kinds[k.Name] = newKind(k)
	}
	if client && len(all) > 0 {
		errs = append(errs, fmt.Errorf("cluster: a client hosts nothing, but has %d kinds; leave them out: %w", len(all), core.ErrInvalid))
	}
	return kinds, errors.Join(errs...)
}

// allKinds are those of the application and of its services.
func (p Components) allKinds() []grain.Kind {
	all := slices.Clone([]grain.Kind(p.Kinds))
	for _, s := range p.Services {
		if s != nil {
			all = append(all, s.Kinds()...)
		}
	}
	return all
}

// check holds what the parts promise against what they need.
func (p Components) check() error {
	var errs []error
	if p.Provider == nil {
		errs = append(errs, fmt.Errorf("cluster: Provider is missing: say who is in the cluster, or use Single: %w", core.ErrInvalid))
	}
	if p.Lookup == nil {
		errs = append(errs, fmt.Errorf("cluster: Lookup is missing: say where identities live, or use Single: %w", core.ErrInvalid))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	promises := p.Provider.Promises()
	if promises.Compat {
		errs = append(errs, fmt.Errorf("cluster: the provider %T writes rows for Proto.Actor members, with which this version does not talk: %w", p.Provider, core.ErrUnsupported))
	}
	if r, ok := p.Lookup.(core.Requirer); ok {
		for _, lack := range missing(r.Requires(), promises) {
			errs = append(errs, fmt.Errorf("cluster: the lookup %T needs a provider that is %s; %T is not: %w", p.Lookup, lack, p.Provider, core.ErrUnsupported))
		}
	}
	for _, k := range p.allKinds() {
		errs = append(errs, p.checkKind(k, promises))
	}
	return errors.Join(errs...)
}

// missing names the promises of want that have does not give.
func missing(want, have core.Promises) []string {
	var out []string
	for _, p := range []struct {
		want, have bool
		name       string
	}{
		{want.Ordered, have.Ordered, "ordered"},
		{want.Linearizable, have.Linearizable, "linearizable"},
		{want.Leases, have.Leases, "able to keep leases"},
	} {
		if p.want && !p.have {
			out = append(out, p.name)
		}
	}
	return out
}

// checkKind refuses a kind that asks for more than the parts offer.
func (p Components) checkKind(k grain.Kind, promises core.Promises) error {
	_, routes := p.Lookup.(core.Router)
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("cluster: kind %q: "+format+": %w", append(append([]any{k.Name}, args...), core.ErrUnsupported)...))
	}
	if routes && !isRendezvous(k.Strategy) {
		refuse("it has the strategy %T, but under the lookup %T the owner of an identity is its host, which is what strategy.Rendezvous picks; leave Strategy out, or take another lookup", k.Strategy, p.Lookup)
	}
	switch {
	case k.Level == grain.Level0:
	case k.Level > grain.Level1:
		refuse("it asks for Level %d; this version keeps no leases and fences no stores, so it offers Level 1 at most", k.Level)
	case routes:
		refuse("it asks for Level %d, the lookup %T offers Level 0", k.Level, p.Lookup)
	default:
		for _, lack := range missing(core.Promises{Ordered: true, Linearizable: true}, promises) {
			refuse("Level %d needs a provider that is %s; %T is not", k.Level, lack, p.Provider)
		}
	}
	return errors.Join(errs...)
}

// isRendezvous reports whether s places as ownership does.
func isRendezvous(s core.Strategy) bool {
	_, same := s.(strategy.Rendezvous)
	return s == nil || same
}

// bindStrategies tells the strategies that depend on it which member this is, and what the others run,
// and keeps them all from suspects.
func (n *Node) bindStrategies() {
	n.anyHost = n.bound(nil)
	for _, k := range n.kinds {
		k.Strategy = n.bound(k.Strategy)
	}
}

func (n *Node) bound(s core.Strategy) core.Strategy {
	if s == nil {
		s = strategy.Rendezvous{}
	}
	if local, ok := s.(core.LocalStrategy); ok {
		s = local.For(n.id)
	}
	if load, ok := s.(core.LoadStrategy); ok {
		s = load.Under(n.gossip)
	}
	return strategy.Avoid{Strategy: s, Suspected: n.suspected}
}

// strategyOf is the kind's choice among hosts; never nil. Of a kind that is not hosted here the strategy is
// not known, and nobody is chosen: the node asks a host instead.
func (n *Node) strategyOf(name string) core.Strategy {
	if k := n.kinds[name]; k != nil {
		return k.Strategy
	}
	return core.StrategyFunc(chooseNobody)
}

func chooseNobody(core.Identity, []core.Member) (core.Member, bool) { return core.Member{}, false }
