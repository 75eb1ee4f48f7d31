package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/remote"
)

// gossiping makes a cluster whose nodes gossip by cfg.
func gossiping(t *testing.T, members int, cfg cluster.GossipConfig) *clustertest.Cluster {
	t.Helper()
	return clustertest.Start(t, clustertest.Config{Members: members, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(_ int, c *cluster.Config, _ *cluster.Components) {
		c.Gossip = cfg
	}})
}

// testGossip changes each field of Config.Gossip.
func testGossip(t *testing.T) {
	asked := func(cfg cluster.GossipConfig) (sent uint64) {
		synctest.Test(t, func(t *testing.T) {
			c := gossiping(t, 5, cfg)
			c.Agree()
			before := c.Node(0).GossipStats()
			time.Sleep(30 * time.Second)
			sent = c.Node(0).GossipStats().Sent - before.Sent
		})
		return sent
	}
	if got := asked(cluster.GossipConfig{}); got < 240 || got > 310 {
		t.Errorf("by default %d questions in 100 intervals of 300 ms, want about 3 in each", got)
	}
	if got := asked(cluster.GossipConfig{Interval: time.Second}); got < 72 || got > 95 {
		t.Errorf("Interval 1 s: %d questions in 30 s, want about 3 in each", got)
	}
	if got := asked(cluster.GossipConfig{FanOut: 1}); got < 80 || got > 105 {
		t.Errorf("FanOut 1: %d questions in 100 intervals, want about one in each", got)
	}
	t.Run("Timeout", testGossipTimeout)
	if all, few := pulled(t, 8, 10, cluster.GossipConfig{}), pulled(t, 8, 10, cluster.GossipConfig{MaxSend: 2}); all >= few {
		t.Errorf("a client knows all after %v, and after %v with MaxSend 2", all, few)
	}
	if all, few := pulled(t, 8, 60<<10, cluster.GossipConfig{MaxBytes: 1 << 20}), pulled(t, 8, 60<<10, cluster.GossipConfig{MaxBytes: 128 << 10}); all >= few {
		t.Errorf("a client knows all after %v, and after %v with MaxBytes 128 KiB instead of 1 MiB", all, few)
	}
	for name, bad := range map[string]cluster.GossipConfig{
		"Interval": {Interval: -1}, "Timeout": {Timeout: -1}, "FanOut": {FanOut: -1}, "MaxOwners": {MaxSend: -1}, "MaxBytes": {MaxBytes: 1000},
	} {
		if _, err := cluster.New(cluster.Config{Gossip: bad}, cluster.Single()); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("bad %s: %v", name, err)
		}
	}
}

// testGossipTimeout has a peer that does not answer: nobody asks it again before the time is over.
func testGossipTimeout(t *testing.T) {
	lost := func(timeout time.Duration) (n uint64) {
		synctest.Test(t, func(t *testing.T) {
			c := gossiping(t, 2, cluster.GossipConfig{Timeout: timeout})
			c.Agree()
			before := c.Node(0).GossipStats()
			c.Cut(0, 1)
			time.Sleep(2900 * time.Millisecond) // the detector has not yet asked three times
			n = c.Node(0).GossipStats().Lost - before.Lost
			c.Heal(0, 1)
		})
		return n
	}
	if short, long := lost(0), lost(2*time.Second); short < 3 || long > 2 {
		t.Errorf("in 2.9 s %d questions are given up with the default of 500 ms, %d with 2 s", short, long)
	}
}

// pulled is how long a new client takes to know one key of all members.
func pulled(t *testing.T, members, size int, cfg cluster.GossipConfig) (took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, members, cfg)
		c.Agree()
		for i := range members {
			if err := c.Node(i).SetState(t.Context(), "k", bytes.Repeat([]byte{byte(i)}, size)); err != nil {
				t.Fatal(err)
			}
		}
		knows(t, c.Node(0), "k", members)
		client := c.AddClient()
		began := time.Now()
		knows(t, client, "k", members)
		took = time.Since(began)
	})
	return took
}

// knows waits until n knows what so many members say under key.
func knows(t *testing.T, n *cluster.Node, key string, members int) {
	t.Helper()
	w, err := cluster.WatchState[core.Message](n, key)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	known := map[core.MemberID]bool{}
	for len(known) < members {
		u, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if known[u.Member] = true; u.Gone {
			delete(known, u.Member)
		}
	}
}

// TestStateReachesEverybody within the bound of convergence: ⌈log₂ N⌉ + 4 intervals.
func TestStateReachesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 8, cluster.GossipConfig{})
		client := c.AddClient()
		c.Agree()
		time.Sleep(5 * time.Second)
		began := time.Now()
		if err := c.Node(3).SetState(t.Context(), "colour", "red"); err != nil {
			t.Fatal(err)
		}
		for _, n := range append(c.Nodes(), client) {
			knows(t, n, "colour", 1)
			got, err := cluster.StateOf[string](n, "colour")
			if err != nil || len(got) != 1 || got[c.Node(3).ID()] != "red" {
				t.Errorf("%s: %v, %v", n.ID(), got, err)
			}
		}
		if took := time.Since(began); took > (3+4)*300*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// TestStateOfLeaversIsForgotten, whether they go in order or not.
func TestStateOfLeaversIsForgotten(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprint("kill ", kill), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := gossiping(t, 3, cluster.GossipConfig{})
				c.Agree()
				gone := c.Node(1).ID()
				for _, n := range c.Nodes() {
					if err := n.SetState(t.Context(), "k", "v"); err != nil {
						t.Fatal(err)
					}
				}
				knows(t, c.Node(0), "k", 3)
				w, err := cluster.WatchState[string](c.Node(0), "k")
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if u, err := w.Next(t.Context()); err != nil || u.Value != "v" {
						t.Fatal(u, err)
					}
				}
				if kill {
					c.Kill(1)
				} else if err := c.Stop(1); err != nil {
					t.Fatal(err)
				}
				if u, err := w.Next(t.Context()); err != nil || !u.Gone || u.Member != gone {
					t.Errorf("%v, %v", u, err)
				}
				c.Agree()
				time.Sleep(10 * time.Second) // whoever has not seen it leave could tell of it again
				for _, n := range c.Nodes() {
					if keys := n.StateKeys(gone); len(keys) > 0 {
						t.Errorf("%s still knows %v of it", n.ID(), keys)
					}
					if got, _ := cluster.StateOf[string](n, "k"); len(got) != 2 {
						t.Errorf("%s: %v", n.ID(), got)
					}
				}
			})
		})
	}
}

// TestLoadsAreGossiped to members and clients, zero counts too; nobody is known that has left.
func TestLoadsAreGossiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		client := c.AddClient()
		c.Agree()
		host, far := c.Node(0), c.Node(1)
		for _, id := range clustertest.Identities("Keeper", 60) {
			if _, err := keep(t.Context(), far, id.Kind, id.Key, "x"); err != nil {
				t.Fatal(err)
			}
		}
		want := host.Kinds()[0].Live
		if want == 0 {
			t.Fatal("nothing runs there")
		}
		time.Sleep(5 * time.Second)
		for _, n := range append(c.Nodes(), client) {
			if got, ok := cluster.Loads(n).Load(host.ID(), "Keeper"); got != want || !ok {
				t.Errorf("%s: %d, %v; want %d", n.ID(), got, ok, want)
			}
			if _, ok := cluster.Loads(n).Load(host.ID(), "Nobody"); ok {
				t.Errorf("%s knows of a kind that is not there", n.ID())
			}
		}
		if n := testing.AllocsPerRun(100, func() { cluster.Loads(far).Load(host.ID(), "Keeper") }); n != 0 {
			t.Errorf("%v allocations", n)
		}
		if err := c.Stop(0); err != nil {
			t.Fatal(err)
		}
		c.Agree()
		time.Sleep(time.Second)
		if got, ok := cluster.Loads(far).Load(host.ID(), "Keeper"); ok {
			t.Errorf("%d activations of a member that has left", got)
		}
	})
}

// TestBansAreGossiped has one member block another: a third learns of it, and that ends by itself.
func TestBansAreGossiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		c.Agree()
		var blocked atomic.Int64
		c.Node(2).Subscribe(func(e cluster.Event) {
			if b, ok := e.(cluster.MemberBlocked); ok && b.Member.ID == c.Node(1).ID() {
				blocked.Add(1)
			}
		})
		if err := c.Node(0).Block(c.Node(1).ID(), time.Minute, "test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if blocked.Load() != 1 {
			t.Errorf("the third member was told %d times", blocked.Load())
		}
		if got := c.Node(2).StateKeys(c.Node(1).ID()); len(got) > 0 {
			t.Errorf("it still believes %v of it", got)
		}
	})
}

// TestClientAsksAndTellsNothing.
func TestClientAsksAndTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 2, cluster.GossipConfig{})
		client := c.AddClient()
		c.Agree()
		if err := client.SetState(t.Context(), "k", "v"); !errors.Is(err, core.ErrUnsupported) {
			t.Errorf("a client sets a key: %v", err)
		}
		time.Sleep(2 * time.Second)
		if got := c.Node(0).GossipStats(); got.Clients != 1 || got.Members != 2 || got.Refused != 0 {
			t.Errorf("%+v", got)
		}
		if got := client.GossipStats(); got.Members != 2 || got.Keys == 0 || got.Refused != 0 {
			t.Errorf("the client: %+v", got)
		}
		if err := c.Stop(2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		if got := c.Node(0).GossipStats(); got.Clients != 0 || got.Peers != 1 {
			t.Errorf("after the client has gone: %+v", got)
		}
	})
}

// TestClientsDoNotCrowdOutGossip: however many questions of clients wait, members' requests have their own
// room; both are bounded.
func TestClientsDoNotCrowdOutGossip(t *testing.T) {
	n, err := cluster.New(cluster.Config{}, cluster.Single())
	if err != nil {
		t.Fatal(err)
	}
	send := cluster.Gossip(n)
	fill := func(typ string, from *remote.Peer) (taken int) {
		for range 5_000 {
			switch err := send(&remote.Inbound{Type: typ, From: from}); {
			case err == nil:
				taken++
			case !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered:
				t.Fatal(err)
			}
		}
		return taken
	}
	clients := fill(convert.TypeStateQuery, &remote.Peer{Client: true, Member: core.Member{ID: "client"}})
	members := fill(convert.TypeGossipRequest, &remote.Peer{Member: core.Member{ID: "member"}})
	if clients != 256 || members != 1_024 {
		t.Errorf("%d questions and %d requests wait, want 256 and 1,024", clients, members)
	}
}
