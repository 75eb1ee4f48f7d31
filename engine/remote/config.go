package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/connguard"
)

// Config is what a Remote is made of. New copies it.
type Config struct {
	// Cluster is the cluster's name, 1 to 128 bytes without '/'; peers of another one are refused. Required.
	Cluster string
	// Member is the ID of this start of this process. Required.
	Member core.MemberID
	// Address is "host:port" to listen on; default "127.0.0.1:0". Not used by a client.
	Address string
	// Advertise is "host:port" that peers dial; port 0 means the port bound. Default: what was
	// bound. Required where Address is a wildcard such as "0.0.0.0:0", which nobody could dial.
	Advertise string
	// Client makes this a client of the cluster: it listens nowhere, and answers come back on the
	// streams that it opened.
	Client bool

	// TLS turns on TLS 1.3 with certificates demanded from both sides. It needs a certificate
	// (Certificates, or GetCertificate and GetClientCertificate, which are asked anew for each
	// connection, so a rotated certificate is used at once) and the pool of the cluster's own CA in
	// RootCAs; ClientCAs defaults to it. The certificate names its role by a URI SAN, see RoleURI.
	TLS *tls.Config
	// InsecureAllowPlaintext permits plaintext to and from addresses that are not loopback. Without
	// it and without TLS they are refused.
	InsecureAllowPlaintext bool
	// InsecureAllowNoClientCert makes TLS encrypt only: the side that dials needs no certificate,
	// and whoever reaches the port may claim to be a member.
	InsecureAllowNoClientCert bool

	// Limits are the bounds; the zero value has the defaults.
	Limits Limits
	// Transport is the network; nil: TCP().
	Transport Transport
	// Types are the messages that are accepted and decoded; nil: only those that remoting itself
	// and AllowRaw bring.
	Types *Types
	// Errors translates errors of answers; nil: the sentinels of core, their delivery and text.
	Errors ErrorCodec
	// Authorize is asked for each message from a peer, system messages excepted: those are for
	// members only. An error refuses the message; its text reaches the sender. Nil: members may
	// send everything, clients nothing. It must not block.
	Authorize func(from Peer, target, typ string) error

	// Observer hears of the links to members.
	Observer Observer

	// Env is what the node lends; nil fields have defaults. Rand is guarded by a lock.
	Env core.Env
}

// MaxCluster is the longest name of a cluster, in bytes.
const MaxCluster = 128

func (c Config) withDefaults() (Config, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format+": %w", append(args, core.ErrInvalid)...))
	}
	if err := checkName(c.Cluster, MaxCluster); err != nil {
		bad("Cluster %.40q: %v", c.Cluster, err)
	}
	if strings.Contains(c.Cluster, "/") {
		bad("Cluster %.40q: it has a '/', which the role in a certificate could not tell apart", c.Cluster)
	}
	if err := checkName(string(c.Member), maxMemberID); err != nil {
		bad("Member %.40q: %v", string(c.Member), err)
	}
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	if c.Transport == nil {
		c.Transport = TCP()
	}
	if c.Types == nil {
		c.Types = NewTypes()
	}
	if c.Errors == nil {
		c.Errors = coreErrors{}
	}
	if c.Authorize == nil {
		c.Authorize = membersOnly
	}
	limits, err := c.Limits.withDefaults()
	c.Limits = limits
	errs = append(errs, err, c.checkTLS(), c.Types.err)
	if !c.Client {
		errs = append(errs, c.checkAddresses())
	}
	c.Env = envDefaults(c.Env)
	return c, errors.Join(errs...)
}

func (c Config) checkAddresses() error {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("address %q: %w: %w", c.Address, err, core.ErrInvalid)
	}
	if c.Advertise != "" {
		advertised, port, err := net.SplitHostPort(c.Advertise)
		if err != nil {
			return fmt.Errorf("advertise %q: %w: %w", c.Advertise, err, core.ErrInvalid)
		}
		if wildcard(advertised) || port == "" {
			return fmt.Errorf("advertise %q: peers could not dial it; name a host and a port: %w", c.Advertise, core.ErrInvalid)
		}
	} else if wildcard(host) {
		return fmt.Errorf("address %q: a wildcard cannot be dialled by peers; set Advertise: %w", c.Address, core.ErrInvalid)
	}
	return c.checkPlaintext("listen on", c.Address)
}

// checkPlaintext refuses plaintext where bytes could leave the machine.
func (c Config) checkPlaintext(doing, address string) error {
	if c.TLS != nil || c.InsecureAllowPlaintext {
		return nil
	}
	if t, ok := c.Transport.(inProcess); ok && t.InProcess() {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if loopback(host) {
		return nil
	}
	return fmt.Errorf("%s %q without TLS: plaintext is for loopback addresses only; set TLS, or InsecureAllowPlaintext to accept that everybody on the way can read and forge: %w",
		doing, address, core.ErrInvalid)
}

func wildcard(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// maxMemberID is the longest member ID that is accepted.
const maxMemberID = 512

// checkName accepts 1 to limit bytes of UTF-8 without spaces and control characters.
func checkName(s string, limit int) error {
	switch {
	case s == "":
		return errors.New("it is empty")
	case len(s) > limit:
		return fmt.Errorf("it has %d bytes, at most %d are allowed", len(s), limit)
	case !utf8.ValidString(s):
		return errors.New("it is not UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return errors.New("it has a space or a control character")
		}
	}
	return nil
}

func envDefaults(e core.Env) core.Env {
	if e.Logger == nil {
		e.Logger = slog.Default()
	}
	if e.Clock == nil {
		e.Clock = core.SystemClock{}
	}
	if e.Rand == nil {
		e.Rand = newRand()
	}
	if e.Hooks == nil {
		e.Hooks = &core.Hooks{}
	}
	return e
}

// Limits are all bounds of remoting in one place. A field that is zero has its default, which the
// comment gives; New refuses negative values. Sizes are bytes.
//
// The bounds of frames, Frame to Recursion, hold for what is sent as well as for what is accepted, and are
// not negotiated: they must be equal on all members and clients of a cluster. A single message beyond the
// receiver's bounds is refused alone; a frame beyond them ends the link. All others may differ.
type Limits struct {
	// Frame is the largest frame sent or accepted: 4 MiB, gRPC's own default, which other nodes of
	// the wire line have too.
	Frame int
	// Envelope is the largest message: 1 MiB, so that one message never holds up a link for long.
	Envelope int
	// Batch is how many messages one frame may hold: 1,000.
	Batch int
	// Gather is the size at which a frame under construction is closed: 64 KiB, since larger frames
	// gain nothing and delay the first message in them.
	Gather int
	// Types is how many type names one frame may list: 256.
	Types int
	// Name is the longest type name: 256.
	Name int
	// ProcessID is the longest process ID: 1,024, room for a kind, a key and what surrounds them.
	ProcessID int
	// Headers is how many headers one message may have: 64.
	Headers int
	// HeaderBytes bounds all headers of one message together: 16 KiB.
	HeaderBytes int
	// Recursion is how deep messages may nest: 64; protobuf's own default is 10,000.
	Recursion int

	// QueueMessages and QueueBytes bound what waits for one peer: 65,536 messages and 16 MiB. Beyond
	// them Send refuses with core.ErrOverloaded.
	QueueMessages int
	QueueBytes    int
	// Asks is how many asks may be outstanding on one connection: 262,144. Those that nobody waits
	// for any more make room when it is reached.
	Asks int
	// AskAge is how long an ask is outstanding before it is given up as of unknown delivery, unless its
	// asker is known to wait, as every caller of a grain is: 1 h. It only bounds what asks leave behind
	// whose target never answers.
	AskAge time.Duration
	// Watches is how many watches one peer may hold here: 65,536. Who watches beyond it is told
	// actor.TerminatedUnwatchable.
	Watches int

	// ClientBytes and ClientConnectionBytes bound what a member holds for its clients, for all of them
	// and for one connection with all its streams: the arguments of their calls from arrival to answer,
	// and the answers until they are written: 16 MiB and 12 MiB. At three quarters of it calls are refused
	// with core.ErrBusy, not delivered, and are worth another try; where only the first is near, those
	// connections alone that have more than their part of the last quarter. When answers go beyond
	// ClientBytes, links end, the one first that has read nothing for longest; beyond
	// ClientConnectionBytes, the connection ends. What waits for a member is bounded by QueueBytes.
	ClientBytes           int
	ClientConnectionBytes int
	// ClientStall is how long a client may leave the oldest frame unread that was sent to it: 10 s. Then
	// its connection ends.
	ClientStall time.Duration
	// FrameTime is the time from the first byte of a frame to its last, on each accepted connection:
	// 10 s. Then the connection ends.
	FrameTime time.Duration
	// PartialBytes bounds what frames hold that have begun and are not complete, on all accepted
	// connections but those of members: 8 MiB. Beyond it connections wait for the two whose frames began
	// first, and one whose frame is not complete in five seconds of its own, or of which nothing comes for
	// one, is ended. One connection, also a member's, may hold twice Frame and is ended beyond it.
	PartialBytes int

	// Streams is how many streams one connection may have: 64; gRPC's own default is unlimited.
	Streams uint32
	// HeaderList bounds the HTTP/2 headers of a stream: 16 KiB; gRPC's own default is 16 MiB.
	HeaderList uint32
	// Handshake is the time from accepting a connection to the end of the handshake: 5 s. A member
	// that is not in the view yet is waited for as long as that, and so the side that dials waits
	// twice as long.
	Handshake time.Duration
	// HandshakeBytes is what a connection may send before the end of its first handshake: 64 KiB.
	HandshakeBytes int
	// Connections, ConnectionsPerIP: accepted connections in all and of one IP address: 8,192 and
	// 1,024. More are closed at once.
	Connections      int
	ConnectionsPerIP int
	// Handshakes, HandshakesPerIP: those of them that have not ended their handshake: 256 and 64.
	Handshakes      int
	HandshakesPerIP int

	// Keepalive and KeepaliveTimeout find a silent peer: 10 s and 3 s. gRPC refuses less than 10 s.
	Keepalive        time.Duration
	KeepaliveTimeout time.Duration
	// KeepaliveMin is how often a peer may ping: every 5 s, half of what our own clients do.
	KeepaliveMin time.Duration
	// Idle is when an accepted connection without a stream is closed: 1 min.
	Idle time.Duration

	// BackoffMin and BackoffMax bound the pause between two dials of a peer: 20 ms and 2 s, doubling,
	// with full jitter above the half.
	BackoffMin time.Duration
	BackoffMax time.Duration
}

// overhead is what surrounds the message within an envelope, and an envelope within a frame, apart
// from names and headers.
const overhead = 64

// withDefaults fills what is zero and complains about what cannot work.
func (l Limits) withDefaults() (Limits, error) {
	var errs []error
	num := func(name string, v *int, def int) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("limits: %s is %d: %w", name, *v, core.ErrInvalid))
		}
	}
	dur := func(name string, v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("limits: %s is %v: %w", name, *v, core.ErrInvalid))
		}
	}
	num("Frame", &l.Frame, 4<<20)
	num("Envelope", &l.Envelope, 1<<20)
	num("Batch", &l.Batch, 1_000)
	num("Gather", &l.Gather, 64<<10)
	num("Types", &l.Types, 256)
	num("Name", &l.Name, 256)
	num("ProcessID", &l.ProcessID, 1_024)
	num("Headers", &l.Headers, 64)
	num("HeaderBytes", &l.HeaderBytes, 16<<10)
	num("Recursion", &l.Recursion, 64)
	num("QueueMessages", &l.QueueMessages, 65_536)
	num("QueueBytes", &l.QueueBytes, 16<<20)
	num("Asks", &l.Asks, 262_144)
	num("Watches", &l.Watches, 65_536)
	num("ClientBytes", &l.ClientBytes, 16<<20)
	num("ClientConnectionBytes", &l.ClientConnectionBytes, 12<<20)
	num("PartialBytes", &l.PartialBytes, 8<<20)
	num("HandshakeBytes", &l.HandshakeBytes, 64<<10)
	num("Connections", &l.Connections, 8_192)
	num("ConnectionsPerIP", &l.ConnectionsPerIP, 1_024)
	num("Handshakes", &l.Handshakes, 256)
	num("HandshakesPerIP", &l.HandshakesPerIP, 64)
	dur("ClientStall", &l.ClientStall, 10*time.Second)
	dur("FrameTime", &l.FrameTime, 10*time.Second)
	dur("AskAge", &l.AskAge, time.Hour)
	dur("Handshake", &l.Handshake, 5*time.Second)
	dur("Keepalive", &l.Keepalive, 10*time.Second)
	dur("KeepaliveTimeout", &l.KeepaliveTimeout, 3*time.Second)
	dur("KeepaliveMin", &l.KeepaliveMin, 5*time.Second)
	dur("Idle", &l.Idle, time.Minute)
	dur("BackoffMin", &l.BackoffMin, 20*time.Millisecond)
	dur("BackoffMax", &l.BackoffMax, 2*time.Second)
	if l.Streams == 0 {
		l.Streams = 64
	}
	if l.HeaderList == 0 {
		l.HeaderList = 16 << 10
	}
	return l, errors.Join(append(errs, l.consistent())...)
}

// guard is what of them bounds connections that have not shaken hands.
func (l *Limits) guard() connguard.Limits {
	return connguard.Limits{
		Connections: l.Connections, ConnectionsPerIP: l.ConnectionsPerIP,
		Handshakes: l.Handshakes, HandshakesPerIP: l.HandshakesPerIP,
		Handshake: l.Handshake, HandshakeBytes: l.HandshakeBytes,
		Frame: l.FrameTime, PartialBytes: l.PartialBytes, ConnectionPartialBytes: 2 * l.Frame,
	}
}

func (l Limits) consistent() error {
	var errs []error
	if room := l.Gather + l.Envelope + l.Name + 4*l.ProcessID + 2*l.HeaderBytes + overhead; room > l.Frame {
		errs = append(errs, fmt.Errorf("limits: Frame is %d, less than the %d that Gather, Envelope and the names around it need: %w",
			l.Frame, room, core.ErrInvalid))
	}
	if l.Envelope >= 1<<lengthBits {
		errs = append(errs, fmt.Errorf("limits: Envelope is %d, want less than %d: %w", l.Envelope, 1<<lengthBits, core.ErrInvalid))
	}
	if l.Frame >= 1<<frameBits {
		errs = append(errs, fmt.Errorf("limits: Frame is %d, want less than %d: %w", l.Frame, 1<<frameBits, core.ErrInvalid))
	}
	if room := 2*l.Envelope + overhead; l.ClientConnectionBytes < room || l.ClientBytes < room {
		errs = append(errs, fmt.Errorf("limits: ClientBytes is %d and ClientConnectionBytes %d, less than the %d that one call of the largest size needs: %w",
			l.ClientBytes, l.ClientConnectionBytes, room, core.ErrInvalid))
	}
	if l.Keepalive < l.KeepaliveMin {
		errs = append(errs, fmt.Errorf("limits: Keepalive is %v, more often than the %v that KeepaliveMin accepts: %w",
			l.Keepalive, l.KeepaliveMin, core.ErrInvalid))
	}
	if l.BackoffMax < l.BackoffMin {
		errs = append(errs, fmt.Errorf("limits: BackoffMax is %v, less than BackoffMin, %v: %w", l.BackoffMax, l.BackoffMin, core.ErrInvalid))
	}
	return errors.Join(errs...)
}

// CheckHeader tells why the headers of a message would not be sent: there are too many, they are too
// large together, or they are not UTF-8. The error wraps core.ErrInvalid.
func (r *Remote) CheckHeader(h map[string]string) error { return r.limits.checkHeader(h) }

func (l *Limits) checkHeader(h map[string]string) error {
	if len(h) > l.Headers {
		return fmt.Errorf("%d headers, at most %d are allowed: %w", len(h), l.Headers, core.ErrInvalid)
	}
	size := 0
	for k, v := range h {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("header %q is not UTF-8: %w", k, core.ErrInvalid)
		}
		size += len(k) + len(v)
	}
	if size > l.HeaderBytes {
		return fmt.Errorf("headers of %d bytes, at most %d are allowed: %w", size, l.HeaderBytes, core.ErrInvalid)
	}
	return nil
}
