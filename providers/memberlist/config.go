package memberlist

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	lib "github.com/hashicorp/memberlist"

	"github.com/granary-go/granary/core"
)

// Config is what a deployment sets. The zero value is the first member of a pool on loopback.
type Config struct {
	// Bind is the ip:port that the gossip listens on, UDP and TCP. The host may be "localhost".
	// Default "127.0.0.1:0": loopback, a port that the kernel chooses, see Provider.Addr.
	Bind string

	// Advertise is the ip:port that other members reach the gossip at. Default: what was bound; for
	// 0.0.0.0, the first private address of this machine.
	Advertise string

	// Seeds are host:port addresses of the gossip of other members; one that answers is enough, and
	// one that is this member itself is skipped. Default none: this is the first member. A client
	// needs at least one.
	Seeds []string

	// GossipKey encrypts and authenticates all gossip (AES-GCM): 16, 24 or 32 bytes, the same at
	// every member and client. Default none: plain text.
	GossipKey []byte

	// InsecureAllowPlaintext lets New accept an address that is not loopback without a GossipKey:
	// then everybody who reaches the port equals a member. Default false.
	InsecureAllowPlaintext bool

	// Cluster separates pools that meet by mistake: packets of another name are dropped. At most
	// 255 bytes. Default "granary".
	Cluster string

	// Preset is how fast the gossip goes. Default LAN.
	Preset Preset
}

// Preset is a set of intervals of the gossip: how soon a killed member is found, and how patient
// the others are with one that is only slow. All members of a pool use the same.
type Preset uint8

// The presets. The times are from the kill of one of three members until the others' views are
// without it.
const (
	// LAN probes a member each second and suspects it for 4 s: 5 to 8 s. For machines of one data
	// centre; a process may stand still for 4.5 s without being taken for dead.
	LAN Preset = iota

	// Local probes a member each 0.2 s and suspects it for 3.2 s: 3.4 to 4 s. For processes of one
	// machine, such as examples and tests; a process may stand still for 3 s without being taken for
	// dead, which one of many on a busy machine does.
	Local

	// WAN probes a member each 5 s and suspects it for 30 s: 35 to 50 s. For members in different
	// regions.
	WAN
)

// String is "lan", "local" or "wan".
func (p Preset) String() string {
	switch p {
	case LAN:
		return "lan"
	case Local:
		return "local"
	case WAN:
		return "wan"
	}
	return "invalid"
}

const (
	defaultBind    = "127.0.0.1:0"
	defaultCluster = "granary"
)

// settings is a Config that was checked and completed.
type settings struct {
	Config
	bind      netip.AddrPort
	advertise netip.AddrPort // zero: what is bound
	rejoin    time.Duration  // between attempts to reach what is known but not in the pool
}

// check completes c and joins all complaints; each wraps core.ErrInvalid.
func (c Config) check() (settings, error) {
	s := settings{Config: c}
	s.Seeds = slices.Clone(c.Seeds)
	s.GossipKey = slices.Clone(c.GossipKey)
	if s.Bind == "" {
		s.Bind = defaultBind
	}
	if s.Cluster == "" {
		s.Cluster = defaultCluster
	}
	var errs []error
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("memberlist: "+format+": %w", append(args, core.ErrInvalid)...))
	}

	var err error
	if s.bind, err = parseBind(s.Bind); err != nil {
		complain("Config.Bind %q: %v", s.Bind, err)
	} else if !s.bind.Addr().IsLoopback() && len(s.GossipKey) == 0 && !s.InsecureAllowPlaintext {
		complain("Config.Bind %q is not loopback and there is no GossipKey, so everybody who reaches the port could join; "+
			"set GossipKey, or InsecureAllowPlaintext if that is meant", s.Bind)
	}
	if s.Advertise != "" {
		if s.advertise, err = parseAdvertise(s.Advertise); err != nil {
			complain("Config.Advertise %q: %v", s.Advertise, err)
		}
	}
	for _, seed := range s.Seeds {
		if _, _, err := splitHostPort(seed); err != nil {
			complain("Config.Seeds %q: %v", seed, err)
		}
	}
	if n := len(s.GossipKey); n != 0 && n != 16 && n != 24 && n != 32 {
		complain("Config.GossipKey has %d bytes, it takes 16, 24 or 32", n)
	}
	if len(s.Cluster) > lib.LabelMaxSize {
		complain("Config.Cluster has %d bytes, the limit is %d", len(s.Cluster), lib.LabelMaxSize)
	}
	if s.Preset > WAN {
		complain("Config.Preset %d is unknown", s.Preset)
	}
	return s, errors.Join(errs...)
}

// parseBind reads an ip:port whose port may be 0 and whose host may be "localhost" or empty.
func parseBind(text string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "0.0.0.0"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, errors.New("the host must be an IP address or localhost")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, errors.New("the port must be a number from 0 to 65535")
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}

// parseAdvertise reads an ip:port that others can reach.
func parseAdvertise(text string) (netip.AddrPort, error) {
	if _, _, err := splitHostPort(text); err != nil {
		return netip.AddrPort{}, err
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, errors.New("the host must be an IP address")
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// splitHostPort reads an address that somebody is to dial.
func splitHostPort(text string) (host string, port uint16, err error) {
	if len(text) > maxAddress {
		return "", 0, fmt.Errorf("%d bytes, the limit is %d", len(text), maxAddress)
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	switch {
	case err != nil || n == 0:
		return "", 0, errors.New("the port must be a number from 1 to 65535")
	case host == "" || !plain(host):
		return "", 0, errors.New("the host is missing or holds control characters or spaces")
	}
	if ip, err := netip.ParseAddr(host); err == nil && (ip.IsUnspecified() || ip.IsMulticast()) {
		return "", 0, errors.New("the host names no machine")
	}
	return host, uint16(n), nil
}

// library is the configuration of the gossip library: the numbers of the preset and what follows
// from s.
func (s *settings) library() *lib.Config {
	c := lib.DefaultLANConfig()
	s.rejoin = 15 * time.Second
	switch s.Preset {
	case Local:
		c.TCPTimeout = 2 * time.Second           // on one machine a stream that takes longer is lost
		c.ProbeInterval = 200 * time.Millisecond // each of three members is probed within 0.6 s
		c.ProbeTimeout = 100 * time.Millisecond  // then others are asked to try, and a stream is tried
		c.SuspicionMult = 16                     // 3.2 s to refute: a process may stand still for 3 s
		c.SuspicionMaxTimeoutMult = 1            // no longer, whether others confirm it or not
		c.AwarenessMaxMultiplier = 4             // who hears nobody waits for an answer for up to 0.8 s
		c.GossipInterval = 50 * time.Millisecond // news reaches everybody in 0.1 s
		c.PushPullInterval = 5 * time.Second     // the whole state again, should packets have been lost
		c.GossipToTheDeadTime = 10 * time.Second // for the dead to hear of it and refute
		c.QueueCheckInterval = 30 * time.Second  // as LAN: it feeds a metric only
		s.rejoin = 2 * time.Second               // a healed cut is noticed within 2 s
	case WAN:
		c = lib.DefaultWANConfig()
		s.rejoin = 60 * time.Second
	}
	c.Label = s.Cluster
	c.SecretKey = slices.Clone(s.GossipKey)
	c.DelegateProtocolVersion, c.DelegateProtocolMin, c.DelegateProtocolMax = rowFormat, rowFormat, rowFormat
	c.EnableCompression = false // rows are small, and who sends nothing compressed needs no limit on it
	if s.advertise.IsValid() {
		c.AdvertiseAddr, c.AdvertisePort = s.advertise.Addr().String(), int(s.advertise.Port())
	}
	return c
}
