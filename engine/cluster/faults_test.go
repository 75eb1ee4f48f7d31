package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// bigKind answers with as many bytes as it is asked for.
func bigKind() grain.Kind {
	return grain.KindOf("Big", func(grain.Self) (*struct{}, error) { return &struct{}{}, nil },
		grain.Method("Get", func(_ *struct{}, _ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil }))
}

// TestAnswerOverTheBound is refused where it is made, and the caller is told at once: the method has run, and
// its answer does not fit. The link goes on. One byte below the bound it is an answer like others.
func TestAnswerOverTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i == 1 {
				parts.Kinds = grain.Kinds{bigKind()}
			}
		}})
		c.Agree()
		ask := func(n int) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			got, err := grain.Call[string](ctx, c.Node(0), core.Identity{Kind: "Big", Key: "x"}, "Get", n)
			if took := time.Since(began); took > time.Second {
				t.Errorf("%d bytes: answered after %v", n, took)
			}
			if err == nil && len(got) != n {
				t.Errorf("%d bytes instead of %d", len(got), n)
			}
			return err
		}
		refused := func(n int) bool {
			err := ask(n)
			if err != nil && (!errors.Is(err, core.ErrInvalid) || core.DeliveryOf(err) != core.Delivered || !strings.Contains(err.Error(), "at most 1048576")) {
				t.Errorf("%d bytes: %v, %v", n, err, core.DeliveryOf(err))
			}
			return err != nil
		}
		if !refused(70_000_000) || !refused(5<<20) || !refused(1<<20) {
			t.Error("an answer over the bound was taken")
		}
		fits, over := 1<<20-1024, 1<<20
		if refused(fits) {
			t.Fatalf("%d bytes do not fit", fits)
		}
		for over-fits > 1 {
			if half := (fits + over) / 2; refused(half) {
				over = half
			} else {
				fits = half
			}
		}
		if refused(fits) || !refused(over) {
			t.Errorf("no bound between %d and %d", fits, over)
		}
	})
}

// TestBadGossipAtANode sends what only a broken or hostile member says to a node that runs: each is refused
// and counted, nothing of it is believed anywhere, and both go on.
func TestBadGossipAtANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		c.Agree()
		time.Sleep(3 * time.Second)
		from, to, other := c.Node(1), c.Node(0), c.Node(2).ID()
		good := core.Message{Type: "test.Text", Data: []byte("v")}
		many := make([]gossip.Value, 100_000) // more than a message holds, so that they come in five
		for i := range many {
			many[i] = gossip.Value{Key: fmt.Sprint("bad", i), Version: uint64(i + 1_000), Message: core.Message{Type: "t"}}
		}
		entry := func(owner core.MemberID, relayed bool, vs ...gossip.Value) []byte {
			return convert.AppendGossipRequest(nil, to.ID(), &gossip.Request{Exchange: 1 << 30, Entries: []gossip.Entry{{Owner: owner, Relayed: relayed, Values: vs}}})
		}
		bad := map[string][]byte{
			"another's key":        entry(other, false, gossip.Value{Key: "bad", Version: 1_000, Message: good}),
			"the receiver's key":   entry(to.ID(), true, gossip.Value{Key: "bad", Version: 1_000, Message: good}),
			"version 2^64-1":       entry(from.ID(), false, gossip.Value{Key: "bad", Version: 1<<64 - 1, Message: good}),
			"version far ahead":    entry(other, true, gossip.Value{Key: "bad", Version: 1 << 40, Message: good}),
			"value over the bound": entry(from.ID(), false, gossip.Value{Key: "bad", Version: 1_000, Message: core.Message{Type: "t", Data: make([]byte, gossip.MaxValue+1)}}),
			"an unknown member":    entry("nobody", true, gossip.Value{Key: "bad", Version: 1_000, Message: good}),
		}
		for i := 0; i < len(many); i += 20_000 {
			bad[fmt.Sprint("100,000 keys, from ", i)] = entry(from.ID(), false, many[i:i+20_000]...)
		}
		for name, data := range bad {
			before := to.GossipStats().Refused
			_ = tellGossip(t, from, to, data) // the good part of a request is answered
			synctest.Wait()
			if got := to.GossipStats().Refused; got <= before {
				t.Errorf("%s: not counted", name)
			}
		}
		time.Sleep(3 * time.Second)
		for _, n := range c.Nodes() {
			for _, m := range append(n.View().Record().Members, core.Member{ID: "nobody"}) {
				for _, key := range n.StateKeys(m.ID) {
					if strings.HasPrefix(key, "bad") {
						t.Errorf("%s believes %s of %s", n.ID(), key, m.ID)
					}
				}
			}
		}
		if err := from.SetState(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes() {
			knows(t, n, "k", 1)
		}
	})
}

// mute is a provider that shows nothing any more once it is told so.
type mute struct {
	core.Provider // and nothing else: it takes part in no vote
	on            atomic.Bool
}

func (m *mute) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	return m.Provider.Join(ctx, env, self, func(v *core.View) {
		if !m.on.Load() {
			report(v)
		}
	})
}

// TestMemberThatMissedABanLearnsIt by gossip, and refuses the traffic of the banned, which does not know of
// its ban either; calls among the others go on.
func TestMemberThatMissedABanLearnsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := memory.New(slowHub)
		if err != nil {
			t.Fatal(err)
		}
		var providers []*mute
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			providers = append(providers, &mute{Provider: hub.Provider()})
			parts.Provider = providers[len(providers)-1]
		}})
		c.Agree()
		time.Sleep(2 * time.Second)
		bad, unaware := c.Node(1), c.Node(2)
		if _, err := send(t, bad, unaware, "$probe", "granary.ProcessRequest", nil); err != nil {
			t.Fatalf("before the ban: %v", err)
		}
		providers[1].on.Store(true)
		providers[2].on.Store(true)
		if err := c.Node(0).Block(bad.ID(), time.Hour, "it does harm"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if _, listed := unaware.View().Member(bad.ID()); !listed {
			t.Fatal("the ban came by the provider")
		}
		for _, n := range []*cluster.Node{c.Node(0), unaware} {
			if _, err := send(t, bad, n, "$probe", "granary.ProcessRequest", nil); err == nil || core.DeliveryOf(err) == core.Delivered {
				t.Errorf("%s takes messages of the banned: %v", n.ID(), err)
			}
		}
		if _, err := send(t, c.Node(0), unaware, "$probe", "granary.ProcessRequest", nil); err != nil {
			t.Errorf("between the others: %v", err)
		}
		c.Kill(1) // it would wait for its own row to show that it leaves
		providers[2].on.Store(false)
	})
}

// TestAllKilledAndStartedAgain on their addresses, while the rows of all the dead stand: the new ones agree
// without the old, and serve.
func TestAllKilledAndStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
			cfg.Address = fmt.Sprintf("127.0.0.1:%d", 7_000+i%3)
		}})
		client := c.AddClient()
		for round := range 3 {
			c.Agree()
			for _, n := range append(c.Nodes(), client) {
				for _, id := range clustertest.Identities("Keeper", 12) {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					if _, err := keep(ctx, n, id.Kind, id.Key, "x"); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
					cancel()
				}
			}
			first := c.Len() - 3
			if round == 0 { // the client is the last node
				first = 0
			}
			for i := first; i < first+3; i++ {
				c.Kill(i)
			}
			for range 3 {
				c.Add()
			}
		}
	})
}

// setClock is a clock whose wall reading is set while it runs, as that of a machine is.
type setClock struct {
	core.SystemClock
	by atomic.Int64 // seconds
}

func (s *setClock) Now() time.Time {
	out := s.SystemClock.Now()
	*(*uint64)(unsafe.Pointer(&out)) += uint64(s.by.Load()) << 30 // seconds of the wall reading; the monotonic one stays
	return out
}

// TestWallClockOfOneNode is set by an hour, forwards and backwards, on one node of three, and is wrong from the
// beginning on a joiner: nobody is suspected or removed, nothing moves or ends, every call with a deadline is
// served, state spreads. In real time: in a bubble of testing/synctest times have no monotonic reading.
func TestWallClockOfOneNode(t *testing.T) {
	set, wrong := &setClock{}, &setClock{}
	wrong.by.Store(-3600)
	c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
		cfg.ProbeMisses = 300 // a machine that is slow for seconds makes no suspect
		switch i {
		case 1:
			cfg.Seams.Clock = set
		case 3:
			cfg.Seams.Clock = wrong
		}
	}})
	if now := set.Now(); set.by.Swap(3600) != 0 || set.Now().Sub(now) > time.Minute || set.Now().Round(0).Sub(now.Round(0)) < time.Hour {
		t.Fatal("the layout of time.Time has changed")
	}
	c.Agree()
	ids := clustertest.Identities("Keeper", 12)
	calls := 0
	callAll := func() {
		t.Helper()
		for _, n := range c.Nodes() {
			for _, id := range ids {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				if _, err := keep(ctx, n, id.Kind, id.Key, "x"); err != nil {
					t.Error(err)
				}
				cancel()
			}
			calls++
		}
	}
	callAll()
	epoch := c.Node(0).View().Epoch()
	for _, by := range []int64{0, 3600, -3600, 3600, 0, -3600} {
		set.by.Store(by)
		time.Sleep(400 * time.Millisecond) // more than a round of gossip, in which a wrong clock may do harm
		callAll()
	}
	for _, n := range c.Nodes() {
		if got := n.View().Epoch(); got != epoch || len(n.Health().Suspects) > 0 {
			t.Errorf("%s is at epoch %d, before %d; suspects %v", n.ID(), got, epoch, n.Health().Suspects)
		}
	}
	for _, id := range ids { // each has kept all: none was moved or ended
		if got, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); got != fmt.Sprint(calls+1) || err != nil {
			t.Errorf("%s kept %s of %d, %v", id, got, calls+1, err)
		}
	}
	joined := c.Add()
	c.Agree()
	callAll()
	if err := joined.SetState(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes() {
		if n.View().Len() != 4 {
			t.Errorf("%s sees %d members", n.ID(), n.View().Len())
		}
		knows(t, n, "k", 1)
	}
}
