package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// onceService serves one node, and knows when it was stopped.
type onceService struct {
	mu               sync.Mutex
	started, stopped bool
}

func (*onceService) Kinds() []grain.Kind { return nil }

func (s *onceService) Start(context.Context, grain.Runtime) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return fmt.Errorf("a second start: %w", core.ErrInvalid)
	}
	s.started = true
	return nil
}

func (s *onceService) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	return nil
}

func (s *onceService) runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started && !s.stopped
}

// TestFailedStartHarmsNoOtherNode has a second node start with parts, or with the ID, of one that runs. It
// fails, and what it did not set up goes on: the row, the lookup, the service, the grains.
func TestFailedStartHarmsNoOtherNode(t *testing.T) {
	fresh := func(hub *memory.Hub) cluster.Components {
		return cluster.Components{Provider: hub.Provider(), Lookup: hub.Lookup(), Services: grain.Services{&onceService{}}, Kinds: grain.Kinds{keeperKind("Keeper", nil)}}
	}
	for _, test := range []struct {
		name  string
		share func(second *cluster.Components, first cluster.Components)
		ring  bool // the lookups do not know each other
		same  bool // the ID too
		want  error
	}{
		{"all parts", func(second *cluster.Components, first cluster.Components) { *second = first }, false, false, core.ErrInvalid},
		{"the provider", func(second *cluster.Components, first cluster.Components) { second.Provider = first.Provider }, false, false, core.ErrInvalid},
		{"the lookup", func(second *cluster.Components, first cluster.Components) { second.Lookup = first.Lookup }, false, false, core.ErrInvalid},
		{"a service", func(second *cluster.Components, first cluster.Components) { second.Services = first.Services }, false, false, core.ErrInvalid},
		{"the ID and the directory", func(*cluster.Components, cluster.Components) {}, false, true, core.ErrConflict},
		{"the ID", func(*cluster.Components, cluster.Components) {}, true, true, core.ErrConflict},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, clustertest.Config{Members: -1})
				first, second := fresh(c.Hub), fresh(c.Hub)
				if test.ring {
					first.Lookup, second.Lookup = &ring{}, &ring{}
				}
				test.share(&second, first)
				node := func(name string, parts cluster.Components) *cluster.Node {
					cfg := cluster.Config{Logger: slog.New(slog.DiscardHandler)}
					cfg.Seams.Transport = c.Network.Host(name)
					if test.same {
						cfg.Seams.NewMemberID = func() core.MemberID { return "one" }
					}
					n, err := cluster.New(cfg, parts)
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
				a := node("a", first)
				if err := a.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = a.Stop(context.WithoutCancel(t.Context())) }()
				if got, err := keep(t.Context(), a, "Keeper", "x", "x"); got != "1" || err != nil {
					t.Fatal(got, err)
				}

				b := node("b", second)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := b.Start(ctx); !errors.Is(err, test.want) {
					t.Errorf("the second start: %v, want %v", err, test.want)
				}
				if err := b.Stop(ctx); err != nil {
					t.Errorf("stop of the second: %v", err)
				}

				if got, err := keep(t.Context(), a, "Keeper", "x", "x"); got != "2" || err != nil {
					t.Errorf("a grain of the first: %q, %v", got, err)
				}
				if _, err := keep(t.Context(), a, "Keeper", "y", "y"); err != nil {
					t.Errorf("a new grain of the first: %v", err)
				}
				if !first.Services[0].(*onceService).runs() {
					t.Error("the service of the first was stopped")
				}
				third := fresh(c.Hub)
				if test.ring {
					third.Lookup = &ring{}
				}
				test.same = false
				witness := node("c", third)
				if err := witness.Start(ctx); err != nil {
					t.Fatalf("a third: %v", err)
				}
				defer func() { _ = witness.Stop(context.WithoutCancel(t.Context())) }()
				for _, n := range []*cluster.Node{a, witness} {
					if _, listed := n.View().Member(a.ID()); !listed || n.View().Len() != 2 {
						t.Errorf("%s sees %v", n.ID(), n.View())
					}
				}
			})
		})
	}
}

// TestSingleIsAlone: what would wait for others for ever is refused, and the error tells what to do.
func TestSingleIsAlone(t *testing.T) {
	for name, cfg := range map[string]cluster.Config{"client": {Client: true}, "members": {MinMembers: 2}} {
		_, err := cluster.New(cfg, cluster.Single())
		if !errors.Is(err, core.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "Provider and the Lookup of the cluster") {
			t.Errorf("%s: %v", name, err)
		}
	}
	parts := cluster.Single()
	parts.Provider = memory.NewHub().Provider() // others may have that hub
	if _, err := cluster.New(cluster.Config{Client: true}, parts); err != nil {
		t.Errorf("a client with a provider of its own: %v", err)
	}
}

// TestNewRateIsThePeers: an activation that a lookup makes for another member is taken from that member's
// bucket, so that one peer cannot use up what others have.
func TestNewRateIsThePeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := keeperKind("Keeper", nil)
		kind.MaxNewRate = 10
		c := clustertest.Start(t, clustertest.Config{Members: 3, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i == 0 {
				parts.Kinds = grain.Kinds{kind}
			}
		}})
		client := c.AddClient()
		for _, peer := range []*cluster.Node{c.Node(1), c.Node(2), c.Node(0), client} {
			taken := 0
			for i := range 20 {
				switch _, err := keep(t.Context(), peer, "Keeper", fmt.Sprint(peer.ID(), i), "x"); {
				case err == nil:
					taken++
				case !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered:
					t.Fatal(err)
				}
			}
			if taken < 10 || taken > 15 {
				t.Errorf("%s made %d activations at once of 20, the rate is 10 a second", peer.ID(), taken)
			}
		}
	})
}

// voteless is a provider whose members cannot vote one out: the dead stay until their leases have ended.
type voteless struct {
	core.Provider
	crasher
}

type crasher interface{ Crash() }

// TestStartNamesWhoIsMissing: a start waits for members that are in the view, dead ones too, but no longer
// than its ctx, and then says for whom; once the provider has taken the dead one out it succeeds.
func TestStartNamesWhoIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer // of the two joiners, one after the other
		c := clustertest.Start(t, clustertest.Config{Members: 3, Hub: memory.Config{TTL: 20 * time.Second}, Timeout: time.Minute, Node: func(i int, cfg *cluster.Config, parts *cluster.Components) {
			parts.Provider = voteless{parts.Provider, parts.Provider.(crasher)}
			if i >= 3 {
				cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
			}
		}})
		dead := c.Node(2).ID()
		c.Kill(2)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := c.New().Start(ctx)
		if took := time.Since(began); took > 12*time.Second { // the second, and a stop
			t.Errorf("a start with a second took %v", took)
		}
		if !errors.Is(err, core.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), string(dead)) {
			t.Errorf("with %s dead: %v", dead, err)
		}
		if strings.Contains(said.String(), "start still waits") {
			t.Error("a start of a second is said to wait for long")
		}
		late := c.Add()
		if !strings.Contains(said.String(), "start still waits") || !strings.Contains(said.String(), "missing=["+string(dead)) {
			t.Error("the log does not tell for whom the start waits")
		}
		if _, listed := late.View().Member(dead); listed {
			t.Error("ready, although a member of the view is dead")
		}
	})
}

// TestStartNamesWhatIsMissing: enough members, or a view at all.
func TestStartNamesWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			edit func(*cluster.Config, *cluster.Components)
			want string
		}{
			"members": {func(cfg *cluster.Config, _ *cluster.Components) { cfg.MinMembers = 3 }, "1 members are up, MinMembers is 3"},
			"view":    {func(_ *cluster.Config, parts *cluster.Components) { parts.Provider = blind{parts.Provider} }, "has shown no view with this member"},
		} {
			c := clustertest.Start(t, clustertest.Config{Members: -1, Node: func(_ int, cfg *cluster.Config, parts *cluster.Components) { test.edit(cfg, parts) }})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := c.New().Start(ctx)
			cancel()
			if !errors.Is(err, core.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// blind is a provider that shows nothing.
type blind struct{ core.Provider }

func (b blind) Join(ctx context.Context, env core.Env, self core.Member, _ func(*core.View)) error {
	return b.Provider.Join(ctx, env, self, func(*core.View) {})
}
