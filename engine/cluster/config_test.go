package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// configTests has a test for each field of Config: with its default, and with another value, the node
// behaves differently.
var configTests = map[string]func(t *testing.T){
	"Name":                   testName,
	"Address":                testAddress,
	"Advertise":              testAdvertise,
	"TLS":                    testTLS,
	"InsecureAllowPlaintext": testPlaintext,
	"Client":                 testClient,
	"MinMembers":             testMinMembers,
	"Weight":                 testWeight,
	"CallTimeout":            testCallTimeout,
	"StopTimeout":            testStopTimeout,
	"CacheSize":              testCacheSize,
	"Gossip":                 testGossip,
	"RemovalGrace":           testRemovalGrace,
	"ProbeInterval":          testProbes,
	"ProbeMisses":            testProbes,
	"Broadcasts":             testBroadcasts,
	"Limits":                 testLimits,
	"Logger":                 testLogger,
	"Seams":                  testSeams,
}

func TestEveryFieldOfConfig(t *testing.T) {
	typ := reflect.TypeFor[cluster.Config]()
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		f := configTests[name]
		if f == nil {
			t.Errorf("field %s has no test", name)
			continue
		}
		t.Run(name, f)
	}
}

// nodes makes a cluster whose i-th node gets its own changes.
func nodes(t *testing.T, members int, edit ...func(cfg *cluster.Config)) *clustertest.Cluster {
	t.Helper()
	return clustertest.Start(t, clustertest.Config{Members: members, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Timeout: 20 * time.Second, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
		if i < len(edit) && edit[i] != nil {
			edit[i](cfg)
		}
	}})
}

func startIn(n *cluster.Node, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return n.Start(ctx)
}

func testName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nodes(t, 1, func(cfg *cluster.Config) { cfg.Name = "one" }, func(cfg *cluster.Config) { cfg.Name = "other" })
		if err := startIn(c.New(), 3*time.Second); err == nil {
			t.Error("a member of another cluster was let in")
		}
		same := nodes(t, 1, func(cfg *cluster.Config) { cfg.Name = "" }, func(cfg *cluster.Config) { cfg.Name = "granary" })
		if err := startIn(same.New(), 3*time.Second); err != nil {
			t.Errorf("the default is not granary: %v", err)
		}
	})
}

func testAddress(t *testing.T) {
	free := freePort(t)
	if got := single(t, cluster.Config{Address: free}).Address(); got != free {
		t.Errorf("listens on %s, want %s", got, free)
	}
	if got := single(t, cluster.Config{}).Address(); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("the default is %s", got)
	}
}

// freePort is an address at which nobody listens. Its port is below the range from which kernels take ports
// by themselves, so that no connection gets it meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1_000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }()
		return l.Addr().String()
	}
	t.Fatal("no free port from 20000 to 29999")
	return ""
}

func testAdvertise(t *testing.T) {
	node := single(t, cluster.Config{Advertise: "localhost:0"})
	if got := node.Address(); !strings.HasPrefix(got, "localhost:") || strings.HasSuffix(got, ":0") {
		t.Errorf("advertises %s", got)
	}
}

func testTLS(t *testing.T) {
	ca := newCA(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := clustertest.Start(t, clustertest.Config{Members: 1, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
		if i < 2 {
			cfg.TLS = ca.member(t, "test")
		}
	}})
	c.Add()
	c.Agree()
	for _, id := range clustertest.Identities("Keeper", 10) {
		if _, err := keep(ctx, c.Node(0), id.Kind, id.Key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := startIn(c.New(), time.Second); err == nil {
		t.Error("a member without TLS was let in")
	}
}

func testPlaintext(t *testing.T) {
	parts := cluster.Single()
	if _, err := cluster.New(cluster.Config{Address: "0.0.0.0:0", Advertise: "192.0.2.1:0"}, parts); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("plaintext beyond loopback: %v", err)
	}
	if _, err := cluster.New(cluster.Config{Address: "0.0.0.0:0", Advertise: "192.0.2.1:0", InsecureAllowPlaintext: true}, parts); err != nil {
		t.Error(err)
	}
}

func testClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nodes(t, 2)
		client := c.AddClient()
		if v := c.Agree(); v.Len() != 2 {
			t.Errorf("%d members", v.Len())
		}
		if _, err := keep(t.Context(), client, "Keeper", "x", "x"); err != nil {
			t.Error(err)
		}
		if h := client.Health(); !h.Ready || h.Members != 2 {
			t.Errorf("health %+v", h)
		}
	})
}

func testMinMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		three := func(cfg *cluster.Config) { cfg.MinMembers = 3 }
		c := nodes(t, -1, three, three, three)
		var wg sync.WaitGroup
		began := time.Now()
		for i := range 3 {
			n := c.New()
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				if err := n.Start(context.Background()); err != nil {
					t.Error(err)
				}
				if time.Since(began) < 2*time.Second {
					t.Error("ready before the third member")
				}
			})
		}
		wg.Wait()
	})
}

func testWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nodes(t, 2, func(cfg *cluster.Config) { cfg.Weight = 300 })
		v := c.Agree()
		if m, _ := v.Member(c.Node(0).ID()); m.Weight != 300 {
			t.Errorf("weight %d", m.Weight)
		}
		if m, _ := v.Member(c.Node(1).ID()); m.Weight != 0 {
			t.Errorf("the default is %d, want 0, which counts as 100", m.Weight)
		}
	})
}

func testCallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nodes(t, 1, func(cfg *cluster.Config) { cfg.CallTimeout = 2 * time.Second })
		began := time.Now()
		_, err := keep(context.Background(), c.Node(0), "Nobody", "x", "x")
		if took := time.Since(began); !errors.Is(err, core.ErrNoMember) || took < 2*time.Second || took > 3*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func testStopTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, limit := range []time.Duration{2 * time.Second, 0} {
			c := nodes(t, 1, func(cfg *cluster.Config) { cfg.StopTimeout = limit })
			go func() { _, _ = keep(context.Background(), c.Node(0), "Keeper", "x", "sleep-long") }()
			_, _ = keep(t.Context(), c.Node(0), "Keeper", "hang-deactivate", "x")
			began := time.Now()
			err := c.Stop(0)
			took := time.Since(began)
			if err == nil || i == 0 && took > 2*time.Second || i == 1 && (took < 2*time.Second || took > 10*time.Second) {
				t.Errorf("limit %v: %v after %v", limit, err, took)
			}
		}
	})
}

func testCacheSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small := func(cfg *cluster.Config) { cfg.CacheSize = 64 }
		c := nodes(t, 2, small, small)
		c.Agree()
		ids := clustertest.Identities("Keeper", 500)
		for _, id := range ids {
			if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.Node(0).Health().Cached; got == 0 || got > 64 {
			t.Errorf("%d cached", got)
		}
		for _, id := range ids {
			if got, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); got != "2" || err != nil {
				t.Errorf("%s, which may have fallen out of the cache: %q, %v", id, got, err)
			}
		}
	})
}

func testLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small := func(cfg *cluster.Config) { cfg.Limits = remote.Limits{Envelope: 1000} }
		for name, edit := range map[string]func(*cluster.Config){"default": nil, "small": small} {
			c := nodes(t, 2, edit, edit)
			c.Agree()
			var far core.Identity
			for _, id := range clustertest.Identities("Keeper", 50) {
				if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
					t.Fatal(err)
				}
				if c.Hosts(id)[0] != c.Node(0) {
					far = id
				}
			}
			_, err := keep(t.Context(), c.Node(0), far.Kind, far.Key, strings.Repeat("x", 2000))
			if (err == nil) != (name == "default") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func testLogger(t *testing.T) {
	var mu sync.Mutex
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(locked{&mu, &text}, nil))
	node := single(t, cluster.Config{Logger: log}, keeperKind("Keeper", nil))
	_, _ = keep(t.Context(), node, "Keeper", "error-make", "x")
	mu.Lock()
	defer mu.Unlock()
	if got := text.String(); !strings.Contains(got, string(node.ID())) || !strings.Contains(got, "failed to start") {
		t.Errorf("log: %s", got)
	}
}

type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// hours is a clock that is hours ahead.
type hours struct{ core.SystemClock }

func (hours) Now() time.Time { return time.Now().Add(5 * time.Hour) }

func testSeams(t *testing.T) {
	var s steps
	node := single(t, cluster.Config{Seams: cluster.Seams{
		Clock: hours{}, Transport: remote.NewMemory(remote.MemoryConfig{}).Host("n"), Seed: 7, Step: s.note,
		NewMemberID: func() core.MemberID { return "chosen" },
	}}, keeperKind("Keeper", nil))
	if node.ID() != "chosen" || !strings.Contains(s.String(), "start.ready") {
		t.Errorf("member %s, steps %s", node.ID(), &s)
	}
	m, _ := node.View().Member("chosen")
	if joined := time.UnixMilli(int64(m.Joined)); time.Until(joined) < 4*time.Hour && m.Joined > 1e12 {
		t.Errorf("joined at %v: not by the clock given", joined)
	}
	if got, err := keep(t.Context(), node, "Keeper", "x", "x"); got != "1" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if a, b := single(t, cluster.Config{}), single(t, cluster.Config{}); a.ID() == b.ID() {
		t.Error("two nodes have one ID")
	}
}
