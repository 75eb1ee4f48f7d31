package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/strategy"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

// promising is a provider that promises something else.
type promising struct {
	core.Provider
	promises core.Promises
}

func (p promising) Promises() core.Promises { return p.promises }

// demanding is a lookup that needs something.
type demanding struct {
	core.Lookup
	needs core.Promises
}

func (d demanding) Requires() core.Promises { return d.needs }

// kindService is a service that brings a kind and nothing else.
type kindService struct{ kind grain.Kind }

func (s kindService) Kinds() []grain.Kind                      { return []grain.Kind{s.kind} }
func (kindService) Start(context.Context, grain.Runtime) error { return nil }
func (kindService) Stop(context.Context) error                 { return nil }

func TestNewComplains(t *testing.T) {
	all := core.Promises{Ordered: true, Linearizable: true, Leases: true}
	tests := []struct {
		name string
		edit func(c *cluster.Config, p *cluster.Components)
		want string // in the text; empty: nothing is wrong
		is   error
	}{
		{"nothing", func(*cluster.Config, *cluster.Components) {}, "", nil},
		{"name with a space", func(c *cluster.Config, _ *cluster.Components) { c.Name = "a b" }, "Name", core.ErrInvalid},
		{"name too long", func(c *cluster.Config, _ *cluster.Components) { c.Name = strings.Repeat("x", 65) }, "Name", core.ErrInvalid},
		{"address", func(c *cluster.Config, _ *cluster.Components) { c.Address = "nowhere" }, "nowhere", core.ErrInvalid},
		{"advertise", func(c *cluster.Config, _ *cluster.Components) { c.Advertise = "nowhere" }, "nowhere", core.ErrInvalid},
		{"plaintext beyond loopback", func(c *cluster.Config, _ *cluster.Components) { c.Address = "192.0.2.1:0" }, "InsecureAllowPlaintext", core.ErrInvalid},
		{"plaintext by name", func(c *cluster.Config, _ *cluster.Components) {
			c.Address, c.InsecureAllowPlaintext = "192.0.2.1:0", true
		}, "", nil},
		{"TLS without a certificate", func(c *cluster.Config, _ *cluster.Components) { c.TLS = &tls.Config{} }, "ertificate", core.ErrInvalid},
		{"negative members", func(c *cluster.Config, _ *cluster.Components) { c.MinMembers = -1 }, "MinMembers", core.ErrInvalid},
		{"negative time", func(c *cluster.Config, _ *cluster.Components) { c.StopTimeout = -1 }, "StopTimeout", core.ErrInvalid},
		{"negative cache", func(c *cluster.Config, _ *cluster.Components) { c.CacheSize = -1 }, "CacheSize", core.ErrInvalid},
		{"negative limit", func(c *cluster.Config, _ *cluster.Components) { c.Limits.Batch = -1 }, "Batch", core.ErrInvalid},
		{"no provider", func(_ *cluster.Config, p *cluster.Components) { p.Provider = nil }, "Provider", core.ErrInvalid},
		{"no lookup", func(_ *cluster.Config, p *cluster.Components) { p.Lookup = nil }, "Lookup", core.ErrInvalid},
		{"kind twice", func(_ *cluster.Config, p *cluster.Components) { p.Kinds = append(p.Kinds, p.Kinds[0]) }, "two kinds", core.ErrInvalid},
		{"kind of a service twice", func(_ *cluster.Config, p *cluster.Components) {
			p.Services = grain.Services{&recordedService{name: "a", note: func(string) {}}, &recordedService{name: "a", note: func(string) {}}}
		}, "two kinds", core.ErrInvalid},
		{"nil service", func(_ *cluster.Config, p *cluster.Components) { p.Services = grain.Services{nil} }, "service 0", core.ErrInvalid},
		{"kind without a factory", func(_ *cluster.Config, p *cluster.Components) {
			p.Kinds = grain.Kinds{grain.KindOf[int]("Keeper", nil)}
		}, "factory", core.ErrInvalid},
		{"bad name of a kind", func(_ *cluster.Config, p *cluster.Components) { p.Kinds = grain.Kinds{keeperKind("a b", nil)} }, "a b", core.ErrInvalid},
		{"client with kinds", func(c *cluster.Config, _ *cluster.Components) { c.Client = true }, "client", core.ErrInvalid},
		{"provider for Proto.Actor", func(_ *cluster.Config, p *cluster.Components) {
			p.Provider = promising{p.Provider, core.Promises{Compat: true}}
		}, "Proto.Actor", core.ErrUnsupported},
		{"lookup that needs order", func(_ *cluster.Config, p *cluster.Components) {
			p.Provider, p.Lookup = promising{Provider: p.Provider}, demanding{p.Lookup, all}
		}, "ordered", core.ErrUnsupported},
		{"lookup that needs leases", func(_ *cluster.Config, p *cluster.Components) {
			p.Provider, p.Lookup = promising{p.Provider, core.Promises{Ordered: true, Linearizable: true}}, demanding{p.Lookup, all}
		}, "leases", core.ErrUnsupported},
		{"strategy under a router", func(_ *cluster.Config, p *cluster.Components) {
			p.Lookup, _ = newRing()
			p.Kinds[0].Strategy = &strategy.RoundRobin{}
		}, `kind "Keeper": it has the strategy *strategy.RoundRobin`, core.ErrUnsupported},
		{"load under a router", func(_ *cluster.Config, p *cluster.Components) {
			p.Lookup, _ = newRing()
			p.Kinds[0].Strategy = strategy.LeastActivations{}
		}, "strategy.LeastActivations", core.ErrUnsupported},
		{"own strategy under a router", func(_ *cluster.Config, p *cluster.Components) {
			p.Lookup, _ = newRing()
			p.Kinds[0].Strategy = core.StrategyFunc(strategy.Rendezvous{}.Pick)
		}, "core.StrategyFunc", core.ErrUnsupported},
		{"rendezvous under a router", func(_ *cluster.Config, p *cluster.Components) {
			p.Lookup, _ = newRing()
			p.Kinds[0].Strategy = strategy.Rendezvous{}
		}, "", nil},
		{"own strategy under a directory", func(_ *cluster.Config, p *cluster.Components) {
			p.Kinds[0].Strategy = core.StrategyFunc(strategy.Rendezvous{}.Pick)
		}, "", nil},
		{"negative probes", func(c *cluster.Config, _ *cluster.Components) { c.ProbeInterval = -1 }, "ProbeInterval", core.ErrInvalid},
		{"negative misses", func(c *cluster.Config, _ *cluster.Components) { c.ProbeMisses = -1 }, "ProbeMisses", core.ErrInvalid},
		{"nil broadcast", func(c *cluster.Config, _ *cluster.Components) { c.Broadcasts = []proto.Message{nil} }, "Broadcasts", core.ErrInvalid},
		{"Level 1 under a router", func(_ *cluster.Config, p *cluster.Components) {
			p.Lookup, _ = newRing()
			p.Kinds[0].Level = grain.Level1
		}, "Level 1", core.ErrUnsupported},
		{"Level 1 without order", func(_ *cluster.Config, p *cluster.Components) {
			p.Provider, p.Kinds[0].Level = promising{Provider: p.Provider}, grain.Level1
		}, "ordered", core.ErrUnsupported},
		{"Level 2", func(_ *cluster.Config, p *cluster.Components) { p.Kinds[0].Level = grain.Level2 }, "Level 1 at most", core.ErrUnsupported},
		{"Level 3 of a service", func(_ *cluster.Config, p *cluster.Components) {
			k := keeperKind("Own", nil)
			k.Level = grain.Level3
			p.Services = grain.Services{kindService{k}}
		}, "Level 1 at most", core.ErrUnsupported},
		{"Level 1 of the parts of Single", func(_ *cluster.Config, p *cluster.Components) { p.Kinds[0].Level = grain.Level1 }, "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var cfg cluster.Config
			parts := cluster.Single(keeperKind("Keeper", nil))
			test.edit(&cfg, &parts)
			_, err := cluster.New(cfg, parts)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, test.is) {
				t.Fatalf("%v: want %q and %v", err, test.want, test.is)
			}
		})
	}
}

func TestNewJoinsAllComplaints(t *testing.T) {
	_, err := cluster.New(cluster.Config{Name: "a b", MinMembers: -1}, cluster.Components{Kinds: grain.Kinds{keeperKind("a b", nil)}})
	for _, want := range []string{"Name", "MinMembers", "Provider", "Lookup", `kind "a b"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q too", err, want)
		}
	}
}

// TestTwoClustersInOneProcess share nothing: kinds of one name, different parts.
func TestTwoClustersInOneProcess(t *testing.T) {
	a := single(t, cluster.Config{Name: "a"}, keeperKind("Keeper", nil))
	b := single(t, cluster.Config{Name: "b"}, keeperKind("Keeper", nil))
	for want, node := range map[string]*cluster.Node{"1": a, "2": b} {
		if want == "2" {
			if _, err := keep(t.Context(), node, "Keeper", "x", "x"); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := keep(t.Context(), node, "Keeper", "x", "x"); err != nil || got != want {
			t.Errorf("%q, %v: want %q", got, err, want)
		}
	}
}

func TestStartTwice(t *testing.T) {
	node := single(t, cluster.Config{})
	if err := node.Start(t.Context()); !errors.Is(err, core.ErrInvalid) {
		t.Fatalf("the second start: %v", err)
	}
	if h := node.Health(); !h.Live || !h.Ready || h.Members != 1 {
		t.Errorf("health %+v", h)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler)}, cluster.Single())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	<-node.Ready()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if h := node.Health(); h.Live || h.Ready {
		t.Errorf("health %+v", h)
	}
}
