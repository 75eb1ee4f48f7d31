package cluster_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// tellGossip has from send a request of gossip to another member as it stands, and gives the error.
func tellGossip(t *testing.T, from, to *cluster.Node, data []byte) error {
	t.Helper()
	sys := cluster.System(from)
	ref := sys.Ref(core.PID{Address: to.Address(), ID: "gossip", Member: to.ID()})
	_, err := sys.Ask(t.Context(), ref, core.Message{Type: convert.TypeGossipRequest, Data: data})
	return err
}

// TestMalformedGossipHarmsNobody: a request that cannot be read is refused, one without state is one that
// tells nothing; sender and receiver stay what they are to everybody, for long.
func TestMalformedGossipHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		c.Agree()
		time.Sleep(3 * time.Second)
		h := hear(c.Node(2))
		to := c.Node(0)
		before := to.GossipStats()
		bad := [][]byte{[]byte("\x0a\xff"), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), []byte("\x0a\x02\x0a\x05")}
		for _, data := range bad {
			if err := tellGossip(t, c.Node(1), to, data); err == nil || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("%x: %v (%v)", data, err, core.DeliveryOf(err))
			}
		}
		if err := tellGossip(t, c.Node(1), to, nil); err != nil {
			t.Errorf("a request without state: %v", err)
		}
		if got := to.GossipStats(); got.Refused < before.Refused+uint64(len(bad)) {
			t.Errorf("%d refusals are counted, %d before", got.Refused, before.Refused)
		}
		if err := to.SetState(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes() {
			knows(t, n, "k", 1)
		}
		time.Sleep(2 * time.Minute)
		h.want(t, "for two minutes")
		for _, n := range c.Nodes() {
			if n.View().Len() != 3 || !n.Health().Ready {
				t.Errorf("%s: %d members, %+v", n.ID(), n.View().Len(), n.Health())
			}
		}
	})
}

// TestGossipIsItsSenders: who has sent a request is what its connection has proved, and nobody speaks for
// another one.
func TestGossipIsItsSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		c.Agree()
		time.Sleep(3 * time.Second)
		to, other := c.Node(0), c.Node(2).ID()
		value := gossip.Value{Key: "k", Version: 1 << 20, Message: core.Message{Type: "test.Text", Data: []byte("forged")}}
		forged := convert.AppendGossipRequest(nil, to.ID(), &gossip.Request{Exchange: 1 << 20, Entries: []gossip.Entry{{Owner: other, Values: []gossip.Value{value}}}})
		before := to.GossipStats().Refused
		_ = tellGossip(t, c.Node(1), to, forged) // the good part of a request is answered
		time.Sleep(3 * time.Second)
		if got := to.GossipStats().Refused; got != before+1 {
			t.Errorf("%d refusals, %d before", got, before)
		}
		for _, n := range c.Nodes() {
			if v, known := n.State(other, "k"); known {
				t.Errorf("%s believes %+v", n.ID(), v)
			}
		}
		stranger := nodes(t, 1) // of another network, and so of none of the views
		if err := tellGossip(t, stranger.Node(0), to, forged); err == nil {
			t.Error("a stranger is heard")
		}
	})
}

// TestSilentMemberHoldsUpNobody: rounds go on at their times while a member does not answer.
func TestSilentMemberHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 6, Lookup: newRing, Hub: slowHub})
		c.Agree()
		time.Sleep(3 * time.Second)
		for i := range 5 {
			c.Cut(i, 5)
		}
		began := time.Now()
		if err := c.Node(0).SetState(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			knows(t, c.Node(i), "k", 1)
		}
		if took := time.Since(began); took > (3+4)*300*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// TestOneIDEverywhere: the provider, gossip, links, grains and events name a member by the same ID.
func TestOneIDEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 2, cluster.GossipConfig{})
		c.Agree()
		time.Sleep(3 * time.Second)
		a, b := c.Node(0), c.Node(1)
		row, listed := b.View().Member(a.ID())
		if !listed || row.Address != a.Address() || a.Self().ID != a.ID() || cluster.System(a).Member() != a.ID() {
			t.Errorf("%s: row %+v, self %s, actors %s", a.ID(), row, a.Self().ID, cluster.System(a).Member())
		}
		if keys := b.StateKeys(a.ID()); !slices.Contains(keys, gossip.KeyTopology) {
			t.Errorf("gossip knows %v of it", keys)
		}
		for _, id := range clustertest.Identities("Keeper", 20) {
			if _, err := keep(t.Context(), b, id.Kind, id.Key, "x"); err != nil {
				t.Fatal(err)
			}
			if where, ok := b.Where(id); ok && where != a.ID() && where != b.ID() {
				t.Errorf("%s is on %s", id, where)
			}
		}
		for act := range a.Activations() {
			if act.Placement.PID.Member != a.ID() {
				t.Errorf("%+v is said to be elsewhere", act)
			}
		}
	})
}

// TestSubscribersMayUseTheNode: whoever is told of an event may ask the node, write, subscribe and cancel.
func TestSubscribersMayUseTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n, _ := orderedNode(t)
		var mu sync.Mutex
		var seen []int
		n.Subscribe(func(e cluster.Event) {
			if _, joined := e.(cluster.MemberJoined); !joined {
				return
			}
			n.Subscribe(func(cluster.Event) {}).Cancel()
			_, _ = n.Health(), n.GossipStats()
			if err := n.SetState(t.Context(), "k", "v"); err != nil {
				t.Error(err)
			}
			if err := n.Block("somebody else", time.Minute, "test"); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, n.View().Len())
		})
		s.set(row("x", "10.0.0.1:1"))
		synctest.Wait()
		s.set(row("x", "10.0.0.1:1"), row("y", "10.0.0.2:1"))
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(seen, []int{2, 3}) {
			t.Errorf("views of %v members when told, want those in which they are", seen)
		}
	})
}

// TestAskingWhileMembersChange: views, health and state are read by many while members come and go; none
// sees half a change. It is the race detector that looks.
func TestAskingWhileMembersChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n, _ := orderedNode(t)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for ctx.Err() == nil {
					v, count := n.View(), 0
					for m := range v.All() {
						if _, listed := v.Member(m.ID); listed {
							count++
						}
					}
					if count != v.Len() || count%2 == 0 {
						t.Errorf("a view of %d members that lists %d", v.Len(), count)
						return
					}
					_ = n.Health()
					_ = n.Self()
					_, _ = cluster.StateOf[string](n, "k")
					time.Sleep(7 * time.Microsecond)
				}
			})
		}
		for range 100 {
			s.set(row("x", "10.0.0.1:1"), row("y", "10.0.0.2:1")) // always two more
			time.Sleep(10 * time.Microsecond)
			s.set()
			time.Sleep(10 * time.Microsecond)
		}
		stop()
		wg.Wait()
	})
}

// TestAnyCallAtAnyMoment: what a node offers may be called before its start and after its stop, on members
// and clients, and gives an answer or an error.
func TestAnyCallAtAnyMoment(t *testing.T) {
	use := func(t *testing.T, n *cluster.Node) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, _, _, _ = n.Self(), n.Health(), n.GossipStats(), n.Kinds()
		_, _ = n.State("x", "k")
		_ = n.StateKeys("x")
		if got, err := cluster.StateOf[string](n, "k"); len(got) > 0 || err != nil {
			t.Errorf("state of others: %v, %v", got, err)
		}
		_, _ = n.TopologyConsensus(ctx)
		n.Subscribe(func(cluster.Event) {}).Cancel()
		if v := n.View(); v != nil && v.Len() > 2 {
			t.Errorf("a view of %d members", v.Len())
		}
		for what, err := range map[string]error{
			"set state": n.SetState(ctx, "k", "v"),
			"block":     n.Block("x", time.Minute, "test"),
			"broadcast": second(n.Broadcast(ctx, wrapperspb.String("x"))),
			"call":      second(keep(ctx, n, "Keeper", "k", "x")),
		} {
			if err == nil || !errors.Is(err, core.ErrStopped) && !errors.Is(err, core.ErrUnsupported) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 1, cluster.GossipConfig{})
		use(t, c.New())
		client := c.AddClient()
		for i := range c.Len() {
			if i != 1 { // that which was never started
				if err := c.Stop(i); err != nil {
					t.Error(err)
				}
			}
		}
		use(t, c.Node(0))
		use(t, client)
	})
}

func second[T any](_ T, err error) error { return err }
