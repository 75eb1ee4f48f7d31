package clustertest

import (
	"context"
	"fmt"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
)

// Eventually polls until check returns nil, and fails the test with its last error after the cluster's
// time-out.
func (c *Cluster) Eventually(check func() error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			c.t.Fatalf("not within %v: %v", c.cfg.Timeout, err)
		}
	}
}

// Agree waits until all members that are left have one view, in which exactly they are, all Up. It
// returns that view.
func (c *Cluster) Agree() *core.View {
	c.t.Helper()
	var view *core.View
	c.Eventually(func() (err error) {
		view, err = agreed(c.Nodes())
		return err
	})
	return view
}

func agreed(nodes []*cluster.Node) (*core.View, error) {
	var first *core.View
	for _, n := range nodes {
		v := n.View()
		switch {
		case v == nil:
			return nil, fmt.Errorf("member %s has no view", n.ID())
		case v.Len() != len(nodes):
			return nil, fmt.Errorf("member %s sees %d members, want %d", n.ID(), v.Len(), len(nodes))
		case first == nil:
			first = v
		case v.Hash() != first.Hash():
			return nil, fmt.Errorf("member %s has another view than %s", n.ID(), nodes[0].ID())
		}
		for _, other := range nodes {
			if m, ok := v.Member(other.ID()); !ok || m.Status != core.Up {
				return nil, fmt.Errorf("member %s sees %s as %v", n.ID(), other.ID(), m.Status)
			}
		}
	}
	return first, nil
}

// Hosts are the members on which id runs now. In a converged cluster there is at most one.
func (c *Cluster) Hosts(id core.Identity) []*cluster.Node {
	var out []*cluster.Node
	for _, n := range c.Nodes() {
		for a := range n.Activations() {
			if a.Identity == id {
				out = append(out, n)
			}
		}
	}
	return out
}

// Identities are n identities of one kind, "0" to "n-1".
func Identities(kind string, n int) []core.Identity {
	out := make([]core.Identity, n)
	for i := range out {
		out[i] = core.Identity{Kind: kind, Key: fmt.Sprint(i)}
	}
	return out
}
