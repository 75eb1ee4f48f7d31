package remote

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/connguard"
)

// The roles that a certificate may name.
const (
	RoleMember = "member" // may send everything, system messages included
	RoleClient = "client" // may send what Config.Authorize allows
)

// RoleURI is the URI SAN by which a certificate names its cluster and its role:
// "cluster/NAME/member/ROLE". With a member ID it ends in "/ID", and the certificate then serves that
// member alone.
//
// A client's certificate without an ID serves any client ID. Two holders of such certificates cannot take
// each other's: while a connection of a client is live, another under the same ID is refused unless it
// shows the same certificate or one that names the ID. So a client whose certificate was rotated may have
// to wait until the end of its old connection is noticed (Limits.Keepalive); one whose certificate names
// its ID need not. Clients that share one certificate are not told apart.
func RoleURI(cluster, role string, member core.MemberID) *url.URL {
	path := "cluster/" + cluster + "/member/" + role
	if member != "" {
		path += "/" + string(member)
	}
	return &url.URL{Path: path}
}

// Peer is who is at the other end of a connection, as the handshake proved it. It is read only.
type Peer struct {
	Member core.Member // the row of the view at the handshake; of a client only ID and Protocol are set
	Client bool
	Epoch  uint64 // of the connection: the peer's count of its own connections
}

// identity is what the transport proved of a peer before the handshake.
type identity struct {
	tls     bool              // there was TLS
	proven  bool              // there was a certificate; the fields below are its own
	client  bool              // its role
	member  core.MemberID     // it serves this one alone; empty: any
	cert    [sha256.Size]byte // the hash of the whole certificate; zero: there was none
	address string            // of the socket, for logs
}

// takesOver reports whether the holder may replace a live connection of a client under the same ID: its
// certificate names that ID, or is the one of that connection, or nothing was proven there either.
func (id identity) takesOver(old identity) bool {
	return id.member != "" || id.cert == old.cert || !old.proven
}

// errRole says that a certificate does not fit this cluster.
var errRole = errors.New("the certificate names no role in this cluster")

// certificateIdentity reads the role that a verified certificate gives its holder in the cluster. Of
// several roles the member's counts.
func certificateIdentity(cert *x509.Certificate, cluster string) (identity, error) {
	id, found := identity{tls: true, proven: true, client: true, cert: sha256.Sum256(cert.Raw)}, false
	for _, u := range cert.URIs {
		parts := strings.SplitN(strings.TrimPrefix(u.Path, "/"), "/", 5)
		if len(parts) < 4 || parts[0] != "cluster" || parts[1] != cluster || parts[2] != "member" {
			continue
		}
		var member core.MemberID
		if len(parts) == 5 {
			member = core.MemberID(parts[4])
		}
		switch parts[3] {
		case RoleMember:
			id.client, id.member, found = false, member, true
			return id, memberUsage(cert)
		case RoleClient:
			id.member, found = member, true
		}
	}
	if !found {
		return identity{}, fmt.Errorf("%w: want a URI SAN %q or %q", errRole,
			RoleURI(cluster, RoleMember, ""), RoleURI(cluster, RoleClient, ""))
	}
	return id, nil
}

// memberUsage demands that a member's certificate may serve: a member both dials and listens.
func memberUsage(cert *x509.Certificate) error {
	if len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 {
		return nil
	}
	server, client := false, false
	for _, u := range cert.ExtKeyUsage {
		server = server || u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny
		client = client || u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	}
	if !server || !client {
		return fmt.Errorf("%w: a member's needs the extended key usages server and client authentication", errRole)
	}
	return nil
}

// claim checks what the handshake says against what the certificate proved.
func (id identity) claim(member core.MemberID, client bool) *refusal {
	switch {
	case !id.proven:
		return nil
	case id.client && !client:
		return refuse(RefusedIdentity, "the certificate is a client's, the connection claims to be a member's")
	case id.member != "" && id.member != member:
		return refuse(RefusedIdentity, "the certificate is that of %q, the connection claims to be %q", id.member, member)
	}
	return nil
}

// membersOnly is the default of Config.Authorize.
func membersOnly(from Peer, target, typ string) error {
	if from.Client {
		return fmt.Errorf("a client may not send %s to %q: %w", typ, target, ErrDenied)
	}
	return nil
}

// checkTLS joins what is missing in the TLS configuration.
func (c Config) checkTLS() error {
	t := c.TLS
	if t == nil {
		return nil
	}
	var errs []error
	bad := func(text string) { errs = append(errs, fmt.Errorf("tls: %s: %w", text, core.ErrInvalid)) }
	if t.RootCAs == nil {
		bad("RootCAs is nil; name the cluster's own CA, the machine's would let in every certificate of the web")
	}
	if !c.Client && len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		bad("no certificate to serve; set Certificates or GetCertificate")
	}
	if !c.InsecureAllowNoClientCert && len(t.Certificates) == 0 && t.GetClientCertificate == nil {
		bad("no certificate to dial with; set Certificates or GetClientCertificate")
	}
	if t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil {
		bad("InsecureSkipVerify without a check of its own")
	}
	if t.MaxVersion != 0 && t.MaxVersion < tls.VersionTLS13 {
		bad("MaxVersion is below TLS 1.3")
	}
	return errors.Join(errs...)
}

// serverTLS is the configuration of the accepting side.
func (c Config) serverTLS() *tls.Config {
	out := c.hardenServer(c.TLS)
	if ask := out.GetConfigForClient; ask != nil {
		out.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := ask(hello)
			if err != nil || chosen == nil {
				return nil, err
			}
			if chosen.RootCAs == nil {
				chosen = chosen.Clone()
				chosen.RootCAs = c.TLS.RootCAs
			}
			return c.hardenServer(chosen), nil
		}
	}
	return out
}

func (c Config) hardenServer(t *tls.Config) *tls.Config {
	out := harden(t)
	if out.ClientCAs == nil {
		out.ClientCAs = out.RootCAs
	}
	if c.InsecureAllowNoClientCert {
		out.ClientAuth = tls.VerifyClientCertIfGiven
	} else {
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	next := out.VerifyConnection
	out.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) > 0 {
			if _, err := certificateIdentity(s.PeerCertificates[0], c.Cluster); err != nil {
				return err
			}
		}
		return verifyNext(next, s)
	}
	return out
}

// clientTLS is the configuration of the dialling side for a peer at host.
func (c Config) clientTLS(host string) *tls.Config {
	out := harden(c.TLS)
	if out.ServerName == "" {
		out.ServerName = host
	}
	next := out.VerifyConnection
	out.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errRole
		}
		id, err := certificateIdentity(s.PeerCertificates[0], c.Cluster)
		if err != nil {
			return err
		}
		if id.client {
			return fmt.Errorf("%w: a client's certificate serves", errRole)
		}
		return verifyNext(next, s)
	}
	return out
}

func verifyNext(next func(tls.ConnectionState) error, s tls.ConnectionState) error {
	if next == nil {
		return nil
	}
	return next(s)
}

func harden(t *tls.Config) *tls.Config {
	out := t.Clone()
	out.MinVersion = tls.VersionTLS13
	if !slices.Contains(out.NextProtos, "h2") {
		out.NextProtos = append(slices.Clone(out.NextProtos), "h2")
	}
	return out
}

// alert is a fatal TLS alert "protocol version": what a TLS port answers to plaintext.
const alert = "\x15\x03\x03\x00\x02\x02\x46"

// recordHandshake and recordAlert are the first bytes of TLS records.
const (
	recordHandshake = 0x16
	recordAlert     = 0x15
)

// secureServer makes the accepting side's half of TLS, or checks that there is none, and tells a peer
// of the other kind clearly.
func (c Config) secureServer(raw *connguard.Conn, t *tls.Config) (net.Conn, identity, error) {
	first, err := raw.Peek()
	if err != nil {
		return nil, identity{}, err
	}
	id := identity{address: raw.RemoteAddr().String()}
	if t == nil {
		if first == recordHandshake {
			c.lastWords(raw, "HTTP/1.1 400 Bad Request\r\n\r\nthis port speaks plaintext\n")
			return nil, id, errors.New("a peer speaks TLS to a plaintext port; give both the same TLS setting")
		}
		return raw, id, nil
	}
	if first != recordHandshake {
		c.lastWords(raw, alert)
		return nil, id, errors.New("a peer speaks plaintext to a TLS port; give both the same TLS setting")
	}
	conn := tls.Server(raw, t)
	if err := conn.Handshake(); err != nil {
		return nil, id, err
	}
	state := conn.ConnectionState()
	if len(state.PeerCertificates) == 0 {
		id.tls = true
		return conn, id, nil
	}
	proven, err := certificateIdentity(state.PeerCertificates[0], c.Cluster)
	proven.address = id.address
	return conn, proven, err
}

// lastWords writes text and waits, for a second at most, until the peer has closed: a connection that is
// closed with unread bytes is reset, and the peer may not see what was written.
func (c Config) lastWords(raw *connguard.Conn, text string) {
	if _, err := io.WriteString(raw, text); err != nil {
		return
	}
	if half, ok := raw.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it is closed at once if this fails
	}
	if raw.SetReadDeadline(c.Env.Clock.Now().Add(stopGrace)) == nil {
		_, _ = io.CopyN(io.Discard, raw, int64(c.Limits.HandshakeBytes)/2)
	}
}

// secureClient is secureServer for the side that dials. note is told of an error that shows only when
// the connection is read.
func (c Config) secureClient(ctx context.Context, raw net.Conn, address string, note func(error)) (net.Conn, error) {
	if c.TLS == nil {
		return &plainConn{Conn: raw, note: note}, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	conn := tls.Client(raw, c.clientTLS(host))
	err = conn.HandshakeContext(ctx)
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return nil, fmt.Errorf("%w: %w", ErrPeerPlaintext, err)
	}
	return conn, err
}

// plainConn notices a peer that answers plaintext with TLS.
type plainConn struct {
	net.Conn
	note func(error)
	seen atomic.Bool
}

// Read passes on; the first byte tells TLS from HTTP/2.
func (c *plainConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.seen.Load() {
		c.seen.Store(true)
		if b[0] == recordAlert || b[0] == recordHandshake {
			c.note(ErrPeerTLS)
			return 0, ErrPeerTLS
		}
	}
	return n, err
}
