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
)

// bound is how long a change takes to reach so many members at the most: ⌈log₂ N⌉ + 4 intervals.
func bound(members int) time.Duration {
	rounds := 4
	for n := 1; n < members; n *= 2 {
		rounds++
	}
	return time.Duration(rounds) * 300 * time.Millisecond
}

// TestTopologyConsensus is true within the bound after each change of the members, on all of them and on
// clients, and always about the view that is installed.
func TestTopologyConsensus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		client := c.AddClient()
		change := []func(){
			func() {},
			func() { c.Add() },
			func() { c.Add() },
			func() { _ = c.Stop(1) },
			func() { c.Kill(2) },
			func() { c.Add() },
		}
		for i, do := range change {
			do()
			want := c.Agree()
			changed := time.Now()
			for _, n := range append(c.Nodes(), client) {
				hash, err := n.TopologyConsensus(t.Context())
				if err != nil || hash != want.Hash() || n.View().Hash() != hash {
					t.Errorf("change %d: %s: %x, %v; want %x", i, n.ID(), hash, err, want.Hash())
				}
			}
			if took := time.Since(changed); took > bound(5) {
				t.Errorf("change %d: it took %v", i, took)
			}
		}
	})
}

// TestTopologyConsensusNeedsEverybody: one member with another view, or one that cannot be heard, and
// there is none; the end of the context is an error.
func TestTopologyConsensusNeedsEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		c.Agree()
		if _, err := c.Node(0).TopologyConsensus(t.Context()); err != nil {
			t.Fatal(err)
		}
		joiner := c.New()
		for _, i := range []int{0, 1, 3} {
			c.Cut(2, i)
		}
		started, end := make(chan error, 1), make(chan struct{})
		go func() {
			started <- joiner.Start(t.Context())
			close(end)
		}()
		c.Eventually(func() error {
			if c.Node(0).View().Len() != 4 {
				return errors.New("the joiner is not seen")
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // sooner than it can be voted out
		defer cancel()
		if hash, err := c.Node(0).TopologyConsensus(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with one that nobody hears: %x, %v", hash, err)
		}
		cause := errors.New("own cause")
		ended, stop := context.WithCancelCause(t.Context())
		stop(cause)
		if _, err := c.Node(0).TopologyConsensus(ended); !errors.Is(err, cause) {
			t.Errorf("the cause of ctx is lost: %v", err)
		}
		c.Kill(2)
		if err := <-started; err != nil {
			t.Error(err)
		}
		<-end
		if _, err := c.Node(0).TopologyConsensus(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestConsensusWhileMembersComeAndGo: waiters of all nodes get through, each time, with a hash that was
// that of a view.
func TestConsensusWhileMembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		c.Agree()
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 2 {
			n := c.Node(i)
			wg.Go(func() {
				for ctx.Err() == nil {
					if _, err := n.TopologyConsensus(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
					time.Sleep(7 * time.Millisecond)
				}
			})
		}
		for i := 3; i < 8; i++ {
			c.Add()
			time.Sleep(time.Duration(i) * 100 * time.Millisecond)
			if err := c.Stop(i); err != nil {
				t.Error(err)
			}
		}
		stop()
		wg.Wait()
		want := c.Agree()
		if hash, err := c.Node(0).TopologyConsensus(t.Context()); err != nil || hash != want.Hash() {
			t.Errorf("%x, %v", hash, err)
		}
	})
}

// release is what the members of the tests below say of themselves.
type release struct {
	Version string
	Noise   int
}

func version(r release) (string, bool) { return r.Version, r.Version != "" }

func say(t *testing.T, n *cluster.Node, version string, noise int) {
	t.Helper()
	if err := n.SetState(t.Context(), "release", release{version, noise}); err != nil {
		t.Fatal(err)
	}
}

// TestOwnConsensus becomes true within the bound after the last change and false with the next; what the
// extractor leaves out does not matter.
func TestOwnConsensus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 4, cluster.GossipConfig{})
		client := c.AddClient()
		c.Agree()
		var checks []*cluster.Consensus[string]
		for _, n := range append(c.Nodes(), client) {
			check, err := cluster.NewConsensus(n, "release", version)
			if err != nil {
				t.Fatal(err)
			}
			checks = append(checks, check)
		}
		for _, v := range []string{"1.0", "1.1"} {
			for i, n := range c.Nodes() {
				say(t, n, v, i)
				if got, agreed := checks[i].Agreed(); agreed && i < 3 {
					t.Errorf("after %d of 4 have said %s all agree on %q", i+1, v, got)
				}
			}
			if got, err := checks[3].Wait(t.Context()); got != v || err != nil {
				t.Errorf("where it was said last: %q, %v", got, err)
			}
			time.Sleep(bound(4))
			for i, check := range checks {
				if got, err := check.Wait(t.Context()); got != v || err != nil {
					t.Errorf("check %d: %q, %v", i, got, err)
				}
			}
		}
		say(t, c.Node(0), "2.0", 0)
		if got, agreed := checks[0].Agreed(); agreed {
			t.Errorf("still agreed on %q", got)
		}
		time.Sleep(bound(4))
		for i, check := range checks {
			if got, agreed := check.Agreed(); agreed || got != "" {
				t.Errorf("check %d: agreed on %q", i, got)
			}
		}
		if err := c.Stop(0); err != nil { // the one that is of another opinion
			t.Fatal(err)
		}
		if got, err := checks[1].Wait(t.Context()); got != "1.1" || err != nil {
			t.Errorf("without it: %q, %v", got, err)
		}
	})
}

// TestBadConsensus has extractors that panic and values of another type: nobody agrees, and gossip goes on.
func TestBadConsensus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 1, cluster.GossipConfig{})
		n := c.Node(0)
		panics, err := cluster.NewConsensus(n, "release", func(release) (int, bool) { panic("in extract") })
		if err != nil {
			t.Fatal(err)
		}
		other, err := cluster.NewConsensus(n, "release", func(s string) (string, bool) { return s, true })
		if err != nil {
			t.Fatal(err)
		}
		good, err := cluster.NewConsensus(n, "release", version)
		if err != nil {
			t.Fatal(err)
		}
		say(t, n, "1", 1)
		if _, agreed := panics.Agreed(); agreed {
			t.Error("agreed on a panic")
		}
		if _, agreed := other.Agreed(); agreed {
			t.Error("agreed on a value of another type")
		}
		if v, agreed := good.Agreed(); !agreed || v != "1" {
			t.Error("the good one suffers")
		}
		for range cluster.MaxConsensus - 3 {
			if _, err := cluster.NewConsensus(n, "release", version); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := cluster.NewConsensus(n, "release", version); !errors.Is(err, core.ErrOverloaded) {
			t.Errorf("one too many: %v", err)
		}
		good.Stop()
		good.Stop()
		if _, err := cluster.NewConsensus(n, "release", version); err != nil {
			t.Errorf("after one was stopped: %v", err)
		}
	})
}

// TestConsensusEnds with the check and with the node, while somebody waits; before Start and after Stop too.
func TestConsensusEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 1})
		n := c.Node(0)
		first, err := cluster.NewConsensus(n, "never", version)
		if err != nil {
			t.Fatal(err)
		}
		second, _ := cluster.NewConsensus(n, "never", version)
		errs := make(chan error, 2)
		for _, check := range []*cluster.Consensus[string]{first, second} {
			go func() {
				_, err := check.Wait(t.Context())
				errs <- err
			}()
		}
		synctest.Wait()
		first.Stop()
		if err := <-errs; !errors.Is(err, core.ErrStopped) {
			t.Error(err)
		}
		if err := c.Stop(0); err != nil {
			t.Fatal(err)
		}
		if err := <-errs; !errors.Is(err, core.ErrStopped) {
			t.Error(err)
		}
		if _, err := cluster.NewConsensus(n, "never", version); !errors.Is(err, core.ErrStopped) {
			t.Errorf("after the stop: %v", err)
		}
		if _, err := n.TopologyConsensus(t.Context()); err == nil {
			t.Error("a node that has stopped knows of a consensus")
		}
		early := c.New()
		check, err := cluster.NewConsensus(early, "release", version)
		if err != nil {
			t.Fatal(err)
		}
		if err := early.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		say(t, early, "1", 0)
		if v, err := check.Wait(t.Context()); v != "1" || err != nil {
			t.Errorf("a check from before the start: %q, %v", v, err)
		}
		never := c.New()
		check, _ = cluster.NewConsensus(never, "release", version)
		if err := never.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := check.Wait(t.Context()); !errors.Is(err, core.ErrStopped) {
			t.Errorf("of a node that was never started: %v", err)
		}
	})
}

// TestTopologyConsensusIsOnTheInstalledView: that all agreed on the view before says nothing of the present one.
func TestTopologyConsensusIsOnTheInstalledView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 2, cluster.GossipConfig{})
		c.Agree()
		n := c.Node(0)
		if _, err := n.TopologyConsensus(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := n.View()
		release := cluster.HoldGossip(n)
		joining, started := c.New(), make(chan error, 1)
		go func() { started <- joining.Start(t.Context()) }() // it waits for what is held here
		c.Eventually(func() error {
			if n.View().Len() == before.Len() {
				return errors.New("the view has not changed")
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if hash, err := n.TopologyConsensus(ctx); err == nil {
			t.Errorf("all agree on %x, though this member's gossip knows nothing of it yet", hash)
		}
		release()
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		if hash, err := n.TopologyConsensus(t.Context()); err != nil || hash != n.View().Hash() {
			t.Errorf("%x, %v", hash, err)
		}
	})
}
