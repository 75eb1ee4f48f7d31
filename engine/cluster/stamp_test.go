package cluster_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// asking is a lookup that talks to the other members from within Reshape, as soon as they have the
// view: what it says there is said under the new view, not under the one that the node still has.
type asking struct {
	*ring
	answers chan error
}

func (a *asking) Reshape(t core.Topology) error {
	if err := a.ring.Reshape(t); err != nil {
		return err
	}
	for m := range t.View.All() {
		if m.ID != a.host.Self().ID && m.Status == core.Up {
			time.Sleep(time.Millisecond) // of virtual time: the others install it meanwhile
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, err := a.host.Call(ctx, m, core.Message{Type: "ask"})
			cancel()
			select {
			case a.answers <- err:
			default:
			}
		}
	}
	return nil
}

func TestCallsWithinReshapeCarryItsView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan error, 1)
		c := clustertest.Start(t, clustertest.Config{
			Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)},
			Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
				if i == 0 {
					parts.Lookup = &asking{&ring{}, answers}
				}
			},
		})
		c.Agree()
		for len(answers) > 0 {
			<-answers
		}
		if err := c.Stop(2); err != nil { // views: leaving, gone
			t.Fatal(err)
		}
		if err := <-answers; err != nil {
			t.Errorf("the first call under a new view: %v", err)
		}
	})
}
