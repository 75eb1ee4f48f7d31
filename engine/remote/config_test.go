package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/actorpb"
)

func TestConfig(t *testing.T) {
	cert := tls.Certificate{Certificate: [][]byte{{1}}}
	pool := x509.NewCertPool()
	tests := map[string]struct {
		edit func(*Config)
		want string // in the error; empty: accepted
	}{
		"defaults":                       {func(*Config) {}, ""},
		"no cluster":                     {func(c *Config) { c.Cluster = "" }, "Cluster"},
		"cluster of 128 bytes":           {func(c *Config) { c.Cluster = strings.Repeat("c", 128) }, ""},
		"cluster of 129 bytes":           {func(c *Config) { c.Cluster = strings.Repeat("c", 129) }, "at most 128"},
		"cluster with a slash":           {func(c *Config) { c.Cluster = "a/b" }, "'/'"},
		"cluster with a newline":         {func(c *Config) { c.Cluster = "a\nb" }, "control"},
		"no member":                      {func(c *Config) { c.Member = "" }, "Member"},
		"member that is not UTF-8":       {func(c *Config) { c.Member = "\xff" }, "UTF-8"},
		"address without a port":         {func(c *Config) { c.Address = "127.0.0.1" }, "address"},
		"plaintext on localhost":         {func(c *Config) { c.Address = "localhost:0" }, ""},
		"plaintext on IPv6 loopback":     {func(c *Config) { c.Address = "[::1]:0" }, ""},
		"plaintext elsewhere":            {func(c *Config) { c.Address = "10.0.0.1:0" }, "without TLS"},
		"plaintext on a name":            {func(c *Config) { c.Address = "example.org:0" }, "without TLS"},
		"plaintext asked for by name":    {func(c *Config) { c.Address, c.InsecureAllowPlaintext = "10.0.0.1:0", true }, ""},
		"plaintext in the process":       {func(c *Config) { c.Address, c.Transport = "n1:0", NewMemory(MemoryConfig{}).Host("n1") }, ""},
		"wildcard without advertise":     {func(c *Config) { c.Address, c.InsecureAllowPlaintext = "0.0.0.0:0", true }, "set Advertise"},
		"wildcard with advertise":        {func(c *Config) { c.Address, c.Advertise, c.InsecureAllowPlaintext = ":0", "host:0", true }, ""},
		"advertise a wildcard":           {func(c *Config) { c.Advertise = "0.0.0.0:1" }, "could not dial"},
		"advertise without a port":       {func(c *Config) { c.Advertise = "host" }, "advertise"},
		"client with a foreign address":  {func(c *Config) { c.Client, c.Address = true, "10.0.0.1:0" }, ""},
		"negative limit":                 {func(c *Config) { c.Limits.Envelope = -1 }, "Envelope"},
		"negative time":                  {func(c *Config) { c.Limits.Handshake = -1 }, "Handshake"},
		"frame below what goes in":       {func(c *Config) { c.Limits.Frame = 100_000 }, "Frame"},
		"envelope too large to frame":    {func(c *Config) { c.Limits.Envelope, c.Limits.Frame = 1<<21, 64<<20 }, "Envelope"},
		"keepalive that peers would end": {func(c *Config) { c.Limits.Keepalive = time.Second }, "Keepalive"},
		"back-off upside down":           {func(c *Config) { c.Limits.BackoffMin = time.Minute }, "BackoffMax"},
		"a nil type":                     {func(c *Config) { c.Types = NewTypes(nil) }, "nil"},
		"a system message as a type":     {func(c *Config) { c.Types = NewTypes(&actorpb.Stop{}) }, "system message"},
		"TLS":                            {func(c *Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool} }, ""},
		"TLS elsewhere": {func(c *Config) {
			c.Address, c.TLS = "10.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool}
		}, ""},
		"TLS without a CA":             {func(c *Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} }, "RootCAs"},
		"TLS without a certificate":    {func(c *Config) { c.TLS = &tls.Config{RootCAs: pool} }, "no certificate to serve"},
		"TLS without one to dial with": {func(c *Config) { c.TLS = &tls.Config{RootCAs: pool, GetCertificate: noCert} }, "no certificate to dial"},
		"TLS that verifies nothing": {func(c *Config) {
			c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, InsecureSkipVerify: true}
		}, "InsecureSkipVerify"},
		"TLS held below 1.3": {func(c *Config) {
			c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MaxVersion: tls.VersionTLS12}
		}, "below TLS 1.3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Cluster: "c", Member: "m"}
			tt.edit(&cfg)
			_, err := New(cfg)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("New: %v, want %q", err, tt.want)
			}
		})
	}
	_, err := New(Config{Limits: Limits{Frame: -1}})
	for _, part := range []string{"Cluster", "Member", "Frame"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New tells %v, without %s", err, part)
		}
	}
}

func noCert(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }

// TestPlaintextIsNotDialled: without TLS no connection leaves the machine either.
func TestPlaintextIsNotDialled(t *testing.T) {
	a := startNode(t, "a", nil)
	a.r.SetMembers(topology(t, nil, a.member(), core.Member{ID: "far", Address: "192.0.2.1:1", Status: core.Up}))
	far := a.sys.Ref(core.PID{Address: "192.0.2.1:1", ID: "x", Member: "far"})
	eventually(t, "the dial is refused", func() bool {
		err := far.Tell(str("x"))
		return err != nil && strings.Contains(err.Error(), "without TLS")
	})
}

// TestEveryLimitHasADefault: a zero field gets a value that is not zero.
func TestEveryLimitHasADefault(t *testing.T) {
	l := testLimits(t, nil)
	v := reflect.ValueOf(*l)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("Limits.%s has no default", v.Type().Field(i).Name)
		}
	}
}

func TestAdvertised(t *testing.T) {
	for _, tt := range []struct{ advertise, bound, want string }{
		{"", "127.0.0.1:5", "127.0.0.1:5"},
		{"host:7", "0.0.0.0:5", "host:7"},
		{"host:0", "0.0.0.0:5", "host:5"},
	} {
		if got, err := advertised(tt.advertise, tt.bound); got != tt.want || err != nil {
			t.Errorf("advertise %q bound %q: %q, %v", tt.advertise, tt.bound, got, err)
		}
	}
}

func TestTypes(t *testing.T) {
	types := NewTypes(&wrapperspb.StringValue{})
	if err := types.Register(&wrapperspb.StringValue{}, &wrapperspb.BoolValue{}); err != nil {
		t.Error(err)
	}
	if got := strings.Join(types.Names(), " "); got != "google.protobuf.BoolValue google.protobuf.StringValue" {
		t.Errorf("names %s", got)
	}
	if types.find([]byte("google.protobuf.Int32Value")) != nil {
		t.Error("a type that is only linked in is found")
	}
}

func TestRawTargets(t *testing.T) {
	var r *rawTargets
	r = r.with("exact", []string{"a"}).with("g/", []string{"b"}).with("g/deep/", []string{"c"}).with("exact", []string{"d"}).with("g/", []string{"e"})
	for _, tt := range []struct {
		target, typ string
		want        bool
	}{
		{"exact", "a", true}, {"exact", "d", true}, {"exact", "b", false}, {"exact/x", "a", false},
		{"g/1", "b", true}, {"g/1", "e", true}, {"g/1", "c", false}, {"g/deep/1", "c", true}, {"g/deep/1", "b", false}, {"h", "b", false},
	} {
		if got := r.of(tt.target)[tt.typ]; got != tt.want {
			t.Errorf("%s takes %s: %v", tt.target, tt.typ, got)
		}
	}
}

func TestBlockListIsBounded(t *testing.T) {
	var b blockList
	b.add("")
	for i := range maxBlocked + 10 {
		b.add(core.MemberID(string(rune('a'+i%26)) + time.Duration(i).String()))
	}
	if len(b.set) != maxBlocked || len(b.order) != maxBlocked {
		t.Errorf("%d and %d IDs are kept", len(b.set), len(b.order))
	}
}
