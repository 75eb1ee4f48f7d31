package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/remotepb"
)

// authority is a certificate authority made for one test.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
	next atomic.Int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{t: t, key: key, cert: cert, pool: pool}
}

// issue makes a certificate for loopback with this role; edit may change it.
func (a *authority) issue(role *url.URL, edit func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.next.Add(1) + 1), Subject: pkix.Name{CommonName: "node"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if role != nil {
		template.URIs = []*url.URL{role}
	}
	if edit != nil {
		edit(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) config(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: a.pool}
}

// asMember gives a node a member's certificate.
func (a *authority) asMember(c *Config) {
	c.TLS = a.config(a.issue(RoleURI("test", RoleMember, ""), nil))
}

func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	x, y := startNode(t, "x", ca.asMember), startNode(t, "y", ca.asMember)
	join(t, x, y)
	y.echo("echo")
	got, err := x.ask(x.at(y, "echo"), str("secret"), time.Minute)
	wantText(t, got, err, "secret")
}

// failureOf waits until from's link to to has failed for a reason that f accepts.
func failureOf(t testing.TB, from, to *node, what string, f func(error) bool) {
	t.Helper()
	var last error
	defer func() {
		if t.Failed() {
			t.Logf("last error: %v\nlog of %s: %s\nlog of %s: %s", last, from.id, from.log.text(), to.id, to.log.text())
		}
	}()
	eventually(t, what, func() bool {
		last = from.at(to, "x").Tell(str("x"))
		return last != nil && errors.Is(last, core.ErrUnreachable) && f(last)
	})
}

// TestRow01_TLSAndPlaintext: a node that speaks TLS and one that does not tell each other so.
func TestRow01_TLSAndPlaintext(t *testing.T) {
	ca := newAuthority(t)
	secure, plain := startNode(t, "secure", ca.asMember), startNode(t, "plain", nil)
	show(t, secure, plain)
	failureOf(t, plain, secure, "plaintext to TLS is told", func(err error) bool { return errors.Is(err, ErrPeerTLS) })
	failureOf(t, secure, plain, "TLS to plaintext is told", func(err error) bool { return errors.Is(err, ErrPeerPlaintext) })
	eventually(t, "both logged it", func() bool {
		return countLines(secure.log, "a peer speaks plaintext to a TLS port") > 0 && countLines(plain.log, "a peer speaks TLS to a plaintext port") > 0
	})
	c, err := net.Dial("tcp", secure.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "random bytes, not TLS at all\r\n")
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if b, err := io.ReadAll(c); string(b) != alert || err != nil {
		t.Errorf("random bytes to a TLS port were answered with %x, %v", b, err)
	}
}

// TestRow02_Certificates: each wrong certificate is refused by the side that sees it.
func TestRow02_Certificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := RoleURI("test", RoleMember, "")
	serverOnly := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	clientOnly := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	tests := map[string]tls.Certificate{
		"expired":           ca.issue(good, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"not valid yet":     ca.issue(good, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
		"wrong CA":          other.issue(good, nil),
		"no SAN":            ca.issue(nil, nil),
		"wrong cluster":     ca.issue(RoleURI("other", RoleMember, ""), nil),
		"wrong role":        ca.issue(RoleURI("test", "admin", ""), nil),
		"client's role":     ca.issue(RoleURI("test", RoleClient, ""), nil),
		"another member ID": ca.issue(RoleURI("test", RoleMember, "somebody"), nil),
		"client EKU only":   ca.issue(good, func(c *x509.Certificate) { c.ExtKeyUsage = clientOnly }),
		"server EKU only":   ca.issue(good, func(c *x509.Certificate) { c.ExtKeyUsage = serverOnly }),
	}
	for name, cert := range tests {
		t.Run(name, func(t *testing.T) {
			x := startNode(t, "x", ca.asMember)
			// The attacker trusts everybody, so that only x can refuse.
			evil := startNode(t, "evil", func(c *Config) {
				c.TLS = ca.config(cert)
				c.TLS.RootCAs = ca.pool.Clone()
				c.TLS.RootCAs.AddCert(other.cert)
			})
			reached := make(chan struct{}, 8)
			for _, n := range []*node{x, evil} {
				n.spawn("x", func(c *actor.Context) {
					if _, ok := c.Message().(*wrapperspb.StringValue); ok {
						reached <- struct{}{}
					}
				})
			}
			show(t, x, evil)
			failureOf(t, evil, x, "its dial is refused", func(err error) bool { return !strings.Contains(err.Error(), "not connected") })
			failureOf(t, x, evil, "it is not dialled", func(err error) bool { return !strings.Contains(err.Error(), "not connected") })
			if len(reached) != 0 {
				t.Error("a message arrived")
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		x := startNode(t, "x", ca.asMember)
		conn, err := tls.Dial("tcp", x.addr, &tls.Config{RootCAs: ca.pool, NextProtos: []string{"h2"}})
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells after the handshake
			_ = conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("without a certificate: %v", err)
		}
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		x := startNode(t, "x", ca.asMember)
		c := ca.config(ca.issue(good, nil))
		c.MaxVersion = tls.VersionTLS12
		if conn, err := tls.Dial("tcp", x.addr, c); err == nil {
			t.Error("TLS 1.2 was accepted")
			_ = conn.Close()
		}
	})
}

// TestRow03_ClientRole: a client's certificate is good for what Authorize allows and nothing else.
func TestRow03_ClientRole(t *testing.T) {
	ca := newAuthority(t)
	x := startNode(t, "target", func(c *Config) {
		ca.asMember(c)
		c.Authorize = func(p Peer, target, typ string) error {
			if p.Client && (target != "echo" || typ != "google.protobuf.StringValue") {
				return ErrDenied
			}
			return nil
		}
	})
	x.r.SetMembers(topology(t, nil, x.member()))
	x.echo("echo")
	x.echo("gossip")
	role := RoleURI("test", RoleClient, "")
	cc := rawConn(t, x.addr, ca.config(ca.issue(role, nil)))
	tg := &target{node: x, t: t, cc: cc, raw: core.Member{ID: "client", Address: "client@client"}}
	client := func(h *hello) { h.client = true }

	s := openRaw(t, cc)
	r, err := s.hello(tg.helloWith(func(h *hello) { h.address = "127.0.0.1:1" }))
	if err != nil || Refusal(r.GetRefusal().GetCode()) != RefusedIdentity || s.end() != codes.PermissionDenied {
		t.Errorf("a client's certificate as a member: %v, %v", r, err)
	}
	s = openRaw(t, cc)
	if r, err = s.hello(tg.helloWith(client)); err != nil || r.GetRefusal() != nil {
		t.Fatalf("handshake of a client: %v, %v", r, err)
	}
	tg.alive(s)
	watch, _ := proto.Marshal(&actorpb.Watch{Watcher: &actorpb.PID{Address: "client@client", Id: "me"}})
	ended, _ := proto.Marshal(&actorpb.Terminated{Who: &actorpb.PID{Address: "client@client", Id: "me"}})
	for i, tt := range []struct {
		id, typ string
		data    []byte
	}{
		{"echo", typeStop, nil}, {"echo", typePoison, nil}, {"echo", typeWatch, watch}, {"echo", typeUnwatch, watch}, {"echo", typeTerminated, ended},
		{"gossip", "cluster.GossipRequest", nil}, {"partition-activator", "cluster.ActivationRequest", nil},
		{"gossip", "google.protobuf.StringValue", nil}, {"echo", "google.protobuf.BytesValue", nil},
	} {
		id := uint64(i + 1)
		s.send(tg.batch(tt.id, id, func(b *remotepb.MessageBatch) { b.TypeNames, b.Envelopes[0].MessageData = []string{tt.typ}, tt.data }))
		tg.wantRefused(s, id, core.ErrUnsupported)
	}
	tg.alive(s)

	bound := rawConn(t, x.addr, ca.config(ca.issue(RoleURI("test", RoleClient, "somebody"), nil)))
	s = openRaw(t, bound)
	if r, err := s.hello(tg.helloWith(client)); err != nil || Refusal(r.GetRefusal().GetCode()) != RefusedIdentity {
		t.Errorf("a certificate for another client: %v, %v", r, err)
	}
}

// TestRotation: certificates are replaced, and connections made anew, without a lost call.
func TestRotation(t *testing.T) {
	ca := newAuthority(t)
	var mu sync.Mutex
	current := ca.issue(RoleURI("test", RoleMember, ""), nil)
	var served, used atomic.Int64
	get := func() *tls.Certificate {
		mu.Lock()
		defer mu.Unlock()
		c := current
		return &c
	}
	rotating := func(c *Config) {
		c.TLS = &tls.Config{
			RootCAs:              ca.pool,
			GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { served.Add(1); return get(), nil },
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { used.Add(1); return get(), nil },
		}
	}
	x, y := startNode(t, "x", rotating), startNode(t, "y", rotating)
	join(t, x, y)
	y.echo("echo")
	stop := make(chan struct{})
	var calls, failed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := x.ask(x.at(y, "echo"), str("x"), time.Minute); err != nil {
					failed.Add(1)
				}
				calls.Add(1)
			}
		})
	}
	for _, name := range []string{"z1", "z2", "z3"} {
		mu.Lock()
		current = ca.issue(RoleURI("test", RoleMember, ""), nil)
		mu.Unlock()
		z := startNode(t, name, rotating)
		before := served.Load()
		view := topology(t, nil, x.member(), y.member(), z.member())
		for _, n := range []*node{x, y, z} {
			n.r.SetMembers(view)
		}
		if err := x.r.Connected(t.Context(), []core.MemberID{"y", z.id}); err != nil {
			t.Fatal(err)
		}
		if served.Load() == before {
			t.Error("the new certificate was not asked for")
		}
	}
	close(stop)
	wg.Wait()
	if failed.Load() != 0 || calls.Load() == 0 || used.Load() == 0 {
		t.Errorf("%d of %d calls failed", failed.Load(), calls.Load())
	}
}

// TestConfigForClient: a configuration chosen per connection is held to the same rules.
func TestConfigForClient(t *testing.T) {
	ca := newAuthority(t)
	x := startNode(t, "x", func(c *Config) {
		ca.asMember(c)
		inner := &tls.Config{Certificates: c.TLS.Certificates} // demands nothing by itself
		c.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }
	})
	y := startNode(t, "y", ca.asMember)
	join(t, x, y)
	evil := startNode(t, "evil", func(c *Config) { c.TLS = ca.config(ca.issue(RoleURI("other", RoleMember, ""), nil)) })
	evil.r.SetMembers(topology(t, nil, x.member(), evil.member()))
	failureOf(t, evil, x, "another cluster's certificate is refused", func(err error) bool { return !strings.Contains(err.Error(), "not connected") })
}

// TestNoClientCert: TLS that encrypts only, asked for by name.
func TestNoClientCert(t *testing.T) {
	ca := newAuthority(t)
	x := startNode(t, "x", func(c *Config) { ca.asMember(c); c.InsecureAllowNoClientCert = true })
	y := startNode(t, "y", func(c *Config) {
		ca.asMember(c)
		c.InsecureAllowNoClientCert = true
		c.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	})
	join(t, x, y)
	x.echo("echo")
	got, err := y.ask(y.at(x, "echo"), str("x"), time.Minute)
	wantText(t, got, err, "x")
}

func TestRolesOfCertificates(t *testing.T) {
	parse := func(texts ...string) *x509.Certificate {
		c := &x509.Certificate{}
		for _, s := range texts {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
		return c
	}
	tests := []struct {
		name string
		cert *x509.Certificate
		want identity
		ok   bool
	}{
		{"member", parse("cluster/test/member/member"), identity{tls: true, proven: true}, true},
		{"client", parse("cluster/test/member/client"), identity{tls: true, proven: true, client: true}, true},
		{"member by ID", parse("cluster/test/member/member/a/b"), identity{tls: true, proven: true, member: "a/b"}, true},
		{"spiffe", parse("spiffe://domain/cluster/test/member/member"), identity{tls: true, proven: true}, true},
		{"both: the member's counts", parse("cluster/test/member/client", "cluster/test/member/member"), identity{tls: true, proven: true}, true},
		{"one of several clusters", parse("cluster/a/member/member", "cluster/test/member/client"), identity{tls: true, proven: true, client: true}, true},
		{"none", parse(), identity{}, false},
		{"other cluster", parse("cluster/tes/member/member"), identity{}, false},
		{"too short", parse("cluster/test/member"), identity{}, false},
		{"other word", parse("cluster/test/node/member"), identity{}, false},
		{"other role", parse("cluster/test/member/root"), identity{}, false},
	}
	for _, tt := range tests {
		got, err := certificateIdentity(tt.cert, "test")
		if tt.ok {
			tt.want.cert = sha256.Sum256(tt.cert.Raw)
		}
		if (err == nil) != tt.ok || err == nil && got != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

// TestClientIDsAreNotTaken: the ID of a live client is taken over only with its certificate, or with one
// that names the ID.
func TestClientIDsAreNotTaken(t *testing.T) {
	ca := newAuthority(t)
	n := startNode(t, "n", ca.asMember)
	join(t, n)
	issue := func(id core.MemberID) tls.Certificate { return ca.issue(RoleURI("test", RoleClient, id), nil) }
	alice, bob, bound := issue(""), issue(""), issue("c")
	connect := func(cert tls.Certificate, epoch uint64) (*rawStream, Refusal) {
		t.Helper()
		s := openRaw(t, rawConn(t, n.addr, ca.config(cert)))
		m, err := s.hello(hello{member: "c", client: true, cluster: "test", protocol: Protocol(), epoch: epoch, target: "n"})
		if err != nil {
			t.Fatal(err)
		}
		return s, Refusal(m.GetRefusal().GetCode())
	}
	first, refused := connect(alice, 1)
	if refused != 0 {
		t.Fatalf("the first connection: %v", refused)
	}
	if _, refused := connect(bob, 2); refused != RefusedIdentity {
		t.Errorf("with another certificate: %v, want %v", refused, RefusedIdentity)
	}
	second, refused := connect(alice, 3)
	if refused != 0 {
		t.Errorf("with its own certificate: %v", refused)
	}
	if code := first.end(); code != codes.Unavailable {
		t.Errorf("the connection that was replaced ended with %v", code)
	}
	third, refused := connect(bound, 4)
	if refused != 0 {
		t.Errorf("with a certificate that names the ID: %v", refused)
	}
	if code := second.end(); code != codes.Unavailable {
		t.Errorf("the connection that was replaced ended with %v", code)
	}
	if _, refused := connect(bob, 5); refused != RefusedIdentity {
		t.Errorf("with another certificate: %v, want %v", refused, RefusedIdentity)
	}
	_ = third.stream.CloseSend()
	third.end()
	eventually(t, "the ID is free once its client has gone", func() bool { _, refused := connect(bob, 6); return refused == 0 })
}
