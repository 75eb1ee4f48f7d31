package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
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
