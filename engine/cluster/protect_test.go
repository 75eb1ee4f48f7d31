package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

func memoryHost() remote.Transport { return remote.NewMemory(remote.MemoryConfig{}).Host("n") }

// rude is a lookup that panics where it is told something, once on is set.
type rude struct {
	*ring
	on *atomic.Bool
}

func (r rude) Forget(core.Identity, core.PID)                { r.panic("Forget") }
func (r rude) Released(a core.Activation, _ core.StopReason) { r.panic("Released") }

func (r rude) panic(what string) {
	if r.on.Load() {
		panic(what)
	}
}

type rudeService struct{ recordedService }

func (s *rudeService) Reshape(t core.Topology) { panic("Reshape of a service") }

// TestPanicsOfCallbacksHarmNobody has everything that the engine tells to others panic: each panic is in
// the log, and the nodes go on.
func TestPanicsOfCallbacksHarmNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var on atomic.Bool
		on.Store(true)
		var text lockedBuffer
		observer := grain.Observer{
			Observer:    actor.Observer{DeadLetter: func(actor.DeadLetter) { panic("DeadLetter") }},
			Topology:    func(core.Topology) { panic("Topology") },
			Activated:   func(core.Activation, time.Duration) { panic("Activated") },
			Deactivated: func(core.Activation, core.StopReason) { panic("Deactivated") },
			Resolved:    func(core.Identity, string, time.Duration, error) { panic("Resolved") },
			Retried:     func(core.Identity, int, error) { panic("Retried") },
		}
		c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Log: slog.New(slog.NewTextHandler(&text, nil)),
			Lookup: func() (core.Lookup, error) { return rude{&ring{}, &on}, nil },
			Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
				parts.Telemetry.Observer = observer
				parts.Services = grain.Services{&rudeService{recordedService{name: "s", note: func(string) {}}}}
			}})
		c.Agree()
		for _, id := range clustertest.Identities("Keeper", 20) {
			for _, what := range []string{"x", "stop", "x"} {
				if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, what); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.Stop(1); err != nil {
			t.Error(err)
		}
		if _, err := keep(t.Context(), c.Node(0), "Keeper", "after", "x"); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"Topology", "Activated", "Deactivated", "Resolved", "Retried", "Released", "Reshape of a service"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the log does not tell of the panic in %s", want)
			}
		}
	})
}

// TestPanicOfALookupStopsTheNode, which cannot go on without it, and nothing else.
func TestPanicOfALookupStopsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parts := cluster.Single(keeperKind("Keeper", nil))
		parts.Lookup = &ring{reshape: func(core.Topology) error { panic("in Reshape") }}
		node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler), Seams: cluster.Seams{Transport: memoryHost()}}, parts)
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "in Reshape") {
			t.Errorf("start: %v", err)
		}
	})
}

// panicking is a service that panics when it is started, or when it is stopped.
type panicking struct{ start, stop bool }

func (panicking) Kinds() []grain.Kind { return nil }
func (p panicking) Start(context.Context, grain.Runtime) error {
	if p.start {
		panic("in Start")
	}
	return nil
}
func (p panicking) Stop(context.Context) error {
	if p.stop {
		panic("in Stop")
	}
	return nil
}

// TestPanicsOfPartsAreErrors of the start, which is undone, and of the stop, which goes on.
func TestPanicsOfPartsAreErrors(t *testing.T) {
	for _, service := range []panicking{{start: true}, {stop: true}} {
		synctest.Test(t, func(t *testing.T) {
			parts := cluster.Single(keeperKind("Keeper", nil))
			parts.Services = grain.Services{service}
			node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler), Seams: cluster.Seams{Transport: memoryHost()}}, parts)
			if err != nil {
				t.Fatal(err)
			}
			if err := node.Start(t.Context()); (err != nil) != service.start || err != nil && !strings.Contains(err.Error(), "in Start") {
				t.Errorf("start: %v", err)
			}
			if err := node.Stop(t.Context()); service.stop && (err == nil || !strings.Contains(err.Error(), "in Stop")) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("stop: %v", err)
			}
		})
	}
}
