package matrix

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/redis"
)

// TestRedisProviderIsRefused: a clear error at the start, which names the server and the way out. What cannot
// become better ends a join at once; the rest is tried until its context ends.
func TestRedisProviderIsRefused(t *testing.T) {
	t.Parallel()
	locked, plain := startRedis(t, "--requirepass", "secret"), startRedis(t)
	do(t, raw(t, plain.Addr), "SET", "{granary:taken}:view", "theirs")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, tt := range map[string]struct {
		cfg   redis.Config
		name  string
		is    error
		says  string
		final bool
	}{
		"no password":         {redis.Config{Address: locked.Addr}, "", core.ErrInvalid, "Config.Password", true},
		"wrong password":      {redis.Config{Address: locked.Addr, Password: "guess"}, "", core.ErrInvalid, "check Config.Username and Config.Password", true},
		"nobody listens":      {redis.Config{Address: closed.Addr().String()}, "", core.ErrUnreachable, "see that the server runs", false},
		"TLS to a plain port": {redis.Config{Address: plain.Addr, TLS: &tls.Config{}, Timeout: time.Second}, "", core.ErrUnreachable, "without TLS on that port leave it out", false},
		"an old version":      {redis.Config{Address: oldRedis(t)}, "", core.ErrUnsupported, "Redis 6 or later", true},
		"a key of another":    {redis.Config{Address: plain.Addr}, "taken", core.ErrInvalid, "choose another", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, tt.cfg, tt.name, tt.is, tt.says, tt.final)
		})
	}
}

// refused looks at join and watch of a member that cannot.
func refused(t *testing.T, cfg redis.Config, name string, is error, says string, final bool) {
	t.Helper()
	for what, start := range map[string]func(context.Context, *peer) error{
		"join":  func(ctx context.Context, m *peer) error { return m.Join(ctx, m.env(), m.self, m.report) },
		"watch": func(ctx context.Context, m *peer) error { return m.Watch(ctx, m.env(), m.report) },
	} {
		limit := 5 * time.Second
		if final {
			limit = time.Minute
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		m := newPeer(t, open(t, cfg), redis.ProviderConfig{Name: name}, "m")
		err := start(ctx, m)
		if !errors.Is(err, is) || !strings.Contains(fmt.Sprint(err), says) || !strings.Contains(fmt.Sprint(err), cfg.Address) {
			t.Errorf("%s: %v, want %v, %q and %s", what, err, is, says, cfg.Address)
		}
		if final == (ctx.Err() != nil) {
			t.Errorf("%s: ended with its context: %v, want %v", what, ctx.Err() != nil, !final)
		}
		if !m.log.has("is tried again") || !m.log.has(cfg.Address) {
			t.Errorf("%s: the log does not say why it waits: %v", what, m.log.lines)
		}
		cancel()
	}
}

// TestRedisProviderCommandForbidden: of the commands that doc.go lists each is needed, and the join says which one
// is missing; without subscribe members poll. The whole list is enough.
func TestRedisProviderCommandForbidden(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	admin := raw(t, server.Addr)
	all := []string{"eval", "evalsha", "info", "hget", "hgetall", "hexists", "hset", "hdel", "publish", "subscribe", "ping"}
	user := func(name, without string) redis.Config {
		args := []any{"ACL", "SETUSER", name, "on", ">pw", "~{granary:*}:*", "&{granary:*}:news"}
		for _, c := range all {
			if c != without {
				args = append(args, "+"+c)
			}
		}
		do(t, admin, args...)
		return redis.Config{Address: server.Addr, Username: name, Password: "pw", Timeout: time.Second}
	}
	for _, c := range all {
		t.Run(c, func(t *testing.T) {
			if c != "eval" { // it is needed as long as no other member has had the server keep the scripts
				t.Parallel()
			}
			m := newPeer(t, open(t, user("no-"+c, c)), redis.ProviderConfig{Name: "without-" + c}, "m")
			err := m.try(30 * time.Second)
			switch c {
			case "ping": // asked of a connection that is silent for long
				if err != nil {
					t.Errorf("join: %v", err)
				}
			case "subscribe":
				if err != nil {
					t.Errorf("join: %v", err)
				}
				n := newPeer(t, open(t, user("no2-"+c, c)), redis.ProviderConfig{Name: "without-" + c}, "n")
				n.join()
				settle(m, n)
				eventually(t, func() error {
					if !m.log.has("the watch has ended; it is polled") || !m.log.has("ACL") {
						return errors.New("the log does not tell of the watch")
					}
					return nil
				})
			default:
				if !errors.Is(err, core.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "ACL forbids it") || !strings.Contains(fmt.Sprint(err), "'"+c) {
					t.Errorf("join: %v, want what is missing: %s", err, c)
				}
			}
		})
	}
	t.Run("none is missing", func(t *testing.T) {
		t.Parallel()
		one := newPeer(t, open(t, user("all", "")), redis.ProviderConfig{Name: "all"}, "one")
		two := newPeer(t, open(t, user("all", "")), redis.ProviderConfig{Name: "all"}, "two")
		one.join()
		two.join()
		settle(one, two)
		renewing(t, admin, "all", one, two)
		if err := two.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		settle(one)
		if one.log.has("level=WARN") {
			t.Errorf("warnings: %v", one.log.lines)
		}
	})
}

// TestRedisTLS: with the right authority it works; a wrong one, a missing one, a wrong name, no certificate where
// the server wants one, and no TLS at all are told apart.
func TestRedisTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool, cert := authority(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	startRedis(t, "--tls-port", port, "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "cert.pem"))
	addr := net.JoinHostPort("localhost", port)
	mine := []tls.Certificate{cert}
	for name, tt := range map[string]struct {
		tls   *tls.Config
		is    error
		says  string
		final bool
	}{
		"no authority":     {&tls.Config{Certificates: mine}, core.ErrInvalid, "check Config.TLS", true},
		"the wrong name":   {&tls.Config{Certificates: mine, RootCAs: pool, ServerName: "elsewhere"}, core.ErrInvalid, "check Config.TLS", true},
		"no TLS":           {nil, core.ErrUnreachable, "set Config.TLS", false},
		"TLS of this kind": {&tls.Config{Certificates: mine, RootCAs: pool}, nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := redis.Config{Address: addr, TLS: tt.tls, Timeout: 20 * time.Second}
			if tt.is != nil {
				refused(t, cfg, "tls", tt.is, tt.says, tt.final)
				return
			}
			m := newPeer(t, open(t, cfg), redis.ProviderConfig{Name: "tls"}, "m")
			m.join()
			settle(m)
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		t.Parallel()
		m := newPeer(t, open(t, redis.Config{Address: addr, TLS: &tls.Config{RootCAs: pool}, Timeout: 20 * time.Second}), redis.ProviderConfig{Name: "tls"}, "m")
		if err := m.try(5 * time.Second); err == nil || !strings.Contains(err.Error(), "Config.TLS") || !strings.Contains(err.Error(), addr) {
			t.Errorf("join: %v", err)
		}
	})
}

// authority makes a certificate of its own for localhost, in dir too.
func authority(t testing.TB, dir string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	keyDER, err2 := x509.MarshalECPrivateKey(key)
	parsed, err3 := x509.ParseCertificate(der)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	err1 = os.WriteFile(filepath.Join(dir, "cert.pem"), certPEM, 0o600)
	err2 = os.WriteFile(filepath.Join(dir, "key.pem"), keyPEM, 0o600)
	pair, err3 := tls.X509KeyPair(certPEM, keyPEM)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, pair
}

// slowed is a way to addr on which each piece takes d, both ways.
func slowed(t testing.TB, addr string, d time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	pass := func(to, from net.Conn) {
		defer to.Close()
		_, _ = io.Copy(to, &lazy{from, d}) // either end may go at any time
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			go pass(out, in)
			go pass(in, out)
		}
	}()
	return l.Addr().String()
}

// lazy gives what it has read after a while.
type lazy struct {
	net.Conn
	d time.Duration
}

func (l *lazy) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	time.Sleep(l.d)
	return n, err
}
