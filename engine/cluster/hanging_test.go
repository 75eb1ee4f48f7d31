package cluster_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// TestFactoryThatBlocks holds up its own grain alone: its callers wait as long as they want to, everybody
// else is served, and the member stops in time and tells what hangs.
func TestFactoryThatBlocks(t *testing.T) {
	for _, way := range []string{"local", "remote"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				release := sync.OnceFunc(func() { close(gate) })
				defer release()
				stuck := grain.KindOf("Stuck", func(grain.Self) (int, error) { <-gate; return 0, nil },
					grain.Method("Do", func(int, context.Context, int) (int, error) { return 0, nil }))
				c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
					if i == 0 {
						parts.Kinds = grain.Kinds{stuck, keeperKind("Keeper", nil)}
					}
				}})
				c.Agree()
				caller := c.Node(map[string]int{"local": 0, "remote": 1}[way])
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				_, err := grain.Call[int](ctx, caller, core.Identity{Kind: "Stuck", Key: "x"}, "Do", 0)
				if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Second+50*time.Millisecond {
					t.Errorf("%v after %v", err, took)
				}
				for _, id := range clustertest.Identities("Keeper", 20) {
					if _, err := keep(t.Context(), caller, id.Kind, id.Key, "x"); err != nil {
						t.Error(err)
					}
				}
				began = time.Now()
				err = c.Stop(0)
				if took := time.Since(began); err == nil || took > 10*time.Second {
					t.Errorf("stop: %v after %v", err, took)
				}
			})
		})
	}
}
