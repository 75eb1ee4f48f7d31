package memberlist

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		says []string
	}{
		{"bind without port", Config{Bind: "127.0.0.1"}, []string{"Config.Bind"}},
		{"bind to a name", Config{Bind: "example.com:1"}, []string{"Config.Bind", "IP address"}},
		{"bind to a port past the last", Config{Bind: "127.0.0.1:65536"}, []string{"Config.Bind"}},
		{"bind to a port that is no number", Config{Bind: "127.0.0.1:http"}, []string{"Config.Bind"}},
		{"all addresses without key", Config{Bind: "0.0.0.0:0"}, []string{"GossipKey", "InsecureAllowPlaintext"}},
		{"no host, without key", Config{Bind: ":7946"}, []string{"GossipKey"}},
		{"IPv6 without key", Config{Bind: "[::]:0"}, []string{"GossipKey"}},
		{"a machine's address without key", Config{Bind: "10.0.0.1:7946"}, []string{"GossipKey"}},
		{"advertise without port", Config{Advertise: "10.0.0.1"}, []string{"Config.Advertise"}},
		{"advertise port 0", Config{Advertise: "10.0.0.1:0"}, []string{"Config.Advertise"}},
		{"advertise nothing", Config{Advertise: "0.0.0.0:1"}, []string{"Config.Advertise"}},
		{"advertise a name", Config{Advertise: "example.com:1"}, []string{"Config.Advertise"}},
		{"seed without port", Config{Seeds: []string{"127.0.0.1:1", "host"}}, []string{"Config.Seeds", `"host"`}},
		{"seed with port 0", Config{Seeds: []string{"host:0"}}, []string{"Config.Seeds"}},
		{"key of 15 bytes", Config{GossipKey: make([]byte, 15)}, []string{"15 bytes"}},
		{"key of 33 bytes", Config{GossipKey: make([]byte, 33)}, []string{"33 bytes"}},
		{"long name", Config{Cluster: strings.Repeat("x", 256)}, []string{"Config.Cluster"}},
		{"unknown preset", Config{Preset: 3}, []string{"Config.Preset"}},
		{"all complaints", Config{Bind: "x", Preset: 9, GossipKey: []byte("short")}, []string{"Config.Bind", "Config.Preset", "Config.GossipKey"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := New(tc.cfg)
			if p != nil || !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("New gave %v, %v", p, err)
			}
			for _, text := range tc.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error does not name %q: %v", text, err)
				}
			}
		})
	}
}

func TestNewAccepts(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 32)
	for name, cfg := range map[string]Config{
		"zero":              {},
		"localhost":         {Bind: "localhost:0"},
		"IPv6 loopback":     {Bind: "[::1]:0"},
		"key of 16":         {GossipKey: key[:16]},
		"key of 24":         {GossipKey: key[:24]},
		"all, with a key":   {Bind: "0.0.0.0:0", GossipKey: key},
		"all, plain by ask": {Bind: "0.0.0.0:0", InsecureAllowPlaintext: true},
		"name of 255":       {Cluster: strings.Repeat("x", 255)},
		"seed by name":      {Seeds: []string{"seed.example.com:7946"}},
	} {
		if _, err := New(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each field changes what it says that it changes.
func TestFieldsCount(t *testing.T) {
	t.Run("Bind", func(t *testing.T) {
		at := freePort(t)
		n := newNode(t, Config{Bind: at}, someMember("bound"))
		shout(t, n.join(t.Context()))
		if n.Addr() != at {
			t.Errorf("Addr is %q, bound to %q", n.Addr(), at)
		}
	})
	t.Run("Advertise", func(t *testing.T) {
		n := newNode(t, Config{Advertise: "127.0.0.7:4711"}, someMember("advertised"))
		shout(t, n.join(t.Context()))
		if n.Addr() != "127.0.0.7:4711" {
			t.Errorf("Addr is %q", n.Addr())
		}
	})
	t.Run("InsecureAllowPlaintext", func(t *testing.T) {
		n := newNode(t, Config{Bind: "0.0.0.0:0", Advertise: "127.0.0.1:4712", InsecureAllowPlaintext: true}, someMember("open"))
		shout(t, n.join(t.Context()))
	})
	t.Run("GossipKey", func(t *testing.T) {
		key := []byte("0123456789abcdef")
		n := newNode(t, Config{Preset: Local, GossipKey: key}, someMember("keyed"))
		shout(t, n.join(t.Context()))
		for name, wrong := range map[string][]byte{"none": nil, "another": []byte("fedcba9876543210")} {
			if err := tryJoin(t, Config{Preset: Local, GossipKey: wrong, Seeds: []string{n.Addr()}}, "key-"+name, refused); !errors.Is(err, core.ErrUnreachable) {
				t.Errorf("join with key %s: %v", name, err)
			}
		}
		if err := tryJoin(t, Config{Preset: Local, GossipKey: key, Seeds: []string{n.Addr()}}, "key-right", patience); err != nil {
			t.Errorf("join with the key: %v", err)
		}
	})
	t.Run("Cluster", func(t *testing.T) {
		n := newNode(t, Config{Preset: Local, Cluster: "shop"}, someMember("shop"))
		shout(t, n.join(t.Context()))
		if err := tryJoin(t, Config{Preset: Local, Seeds: []string{n.Addr()}}, "granary", refused); !errors.Is(err, core.ErrUnreachable) {
			t.Errorf("join of another cluster: %v", err)
		}
		if err := tryJoin(t, Config{Preset: Local, Cluster: "shop", Seeds: []string{n.Addr()}}, "shop-2", patience); err != nil {
			t.Errorf("join of the same cluster: %v", err)
		}
	})
	t.Run("Preset", func(t *testing.T) {
		// One of three members: no sooner than a probe at its last moment and the suspicion, no later
		// than the most that passes between two probes, and those.
		for _, tc := range []struct {
			Preset
			stands, found time.Duration
		}{
			{Local, 3 * time.Second, 4 * time.Second},
			{LAN, 4500 * time.Millisecond, 8 * time.Second},
			{WAN, 30 * time.Second, 50 * time.Second},
		} {
			s, err := Config{Preset: tc.Preset}.check()
			shout(t, err)
			c := s.library()
			removed := c.ProbeInterval + time.Duration(c.SuspicionMult)*c.ProbeInterval
			if refute := removed - tc.stands; refute < 400*time.Millisecond {
				t.Errorf("%v: one that stands still for %v has %v to refute", tc.Preset, tc.stands, refute)
			}
			if grace := (&Provider{cfg: s}).RemovalGrace(); grace != c.ProbeInterval {
				t.Errorf("%v: the grace is %v, a probe interval %v", tc.Preset, grace, c.ProbeInterval)
			}
			if latest := 3*c.ProbeInterval + removed; latest > tc.found || s.rejoin == 0 {
				t.Errorf("%v: found after up to %v, rejoin %v", tc.Preset, latest, s.rejoin)
			}
		}
		if LAN != 0 || Preset(9).String() != "invalid" || LAN.String()+Local.String()+WAN.String() != "lanlocalwan" {
			t.Error("names of presets")
		}
	})
}

// refused is how long a join is tried that nobody lets in.
const refused = 700 * time.Millisecond

// tryJoin joins for at most limit and leaves.
func tryJoin(t *testing.T, cfg Config, id string, limit time.Duration) error {
	t.Helper()
	n := newNode(t, cfg, someMember(id))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := n.join(ctx)
	n.leave(t, t.Context())
	return err
}

// A seed may be a name; localhost is one that resolves everywhere.
func TestSeedByName(t *testing.T) {
	a := newNode(t, Config{Preset: Local}, someMember("named"))
	shout(t, a.join(t.Context()))
	_, port, _ := net.SplitHostPort(a.Addr())
	b := newNode(t, Config{Preset: Local, Seeds: []string{net.JoinHostPort("localhost", port)}}, someMember("by-name"))
	shout(t, b.join(t.Context()))
	a.await(t, "both", shows(a, b))
}
