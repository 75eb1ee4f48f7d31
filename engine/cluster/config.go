package cluster

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
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
	// grain has the call, such a call waits for as long as the method takes. Default 10 s.
	CallTimeout time.Duration

	// StopTimeout bounds Stop. Default 10 s; 30 s suits grains that have much to save.
	StopTimeout time.Duration

	// CacheSize is how many locations of grains the node remembers, those of its own included.
	// Each costs about 250 bytes. Default 262,144.
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
)

// maxName bounds the name of a cluster: it is part of every handshake.
const maxName = 64

// withDefaults fills in what was not set.
func (c Config) withDefaults() Config {
	set(&c.Name, defaultName)
	set(&c.Address, defaultAddress)
	set(&c.MinMembers, 1)
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
