package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// unordered is a provider without an order.
type unordered struct{ core.Provider }

func (unordered) Promises() core.Promises { return core.Promises{} }

// Join reports views without a lineage.
func (u unordered) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	return u.Provider.Join(ctx, e, self, func(v *core.View) {
		plain, err := core.NewView(core.ViewRecord{Members: v.Record().Members})
		if err != nil {
			panic(err)
		}
		report(plain)
	})
}

// TestBlockEvicts the member where the provider keeps the view in one record: all refuse it, it is out,
// and a later start of it is let in.
func TestBlockEvicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 3, Hub: slowHub, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}})
		c.Agree()
		time.Sleep(2 * time.Second)
		bad := c.Node(2)
		h := hear(c.Node(1))
		h.call(bad.ID(), "bad")
		if err := c.Node(0).Block(bad.ID(), time.Hour, "it does harm"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if got := c.Node(1).View().Len(); got != 2 {
			t.Errorf("%d members", got)
		}
		got := h.take()
		if want := []string{"MemberBlocked bad", "EndpointTerminated bad", "MemberUnavailable bad", "MemberLeft bad"}; !sameElements(among(got, "bad"), want) {
			t.Errorf("another member was told %q, want %q", got, want)
		}
		if bad.Health().Live {
			t.Error("the blocked member goes on")
		}
		c.Add()
		time.Sleep(time.Second)
		for _, id := range clustertest.Identities("Keeper", 30) {
			if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Error(err)
			}
		}
	})
}

func sameElements(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// TestBlockSpreads by gossip where the provider has no order: the member is left out of the views of all,
// its traffic is refused, and it is let in again when the ban ends.
func TestBlockSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memory.NewHub()
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Provider = unordered{hub.Provider()}
		}})
		c.Agree()
		time.Sleep(2 * time.Second)
		bad := c.Node(2)
		if err := c.Node(0).Block(bad.ID(), time.Minute, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		for i := range 2 {
			if _, listed := c.Node(i).View().Member(bad.ID()); listed {
				t.Errorf("member %d has the blocked one in its view", i)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		failed := 0
		for _, id := range clustertest.Identities("Keeper", 30) {
			if _, err := keep(ctx, bad, id.Kind, id.Key, "x"); err != nil {
				failed++
			}
		}
		if failed == 0 {
			t.Error("calls of the blocked member get through")
		}
		time.Sleep(2 * time.Minute)
		c.Agree()
		time.Sleep(time.Minute) // by their back-off
		for _, id := range clustertest.Identities("Keeper", 30) {
			if _, err := keep(t.Context(), bad, id.Kind, id.Key, "x"); err != nil {
				t.Errorf("after the ban: %v", err)
			}
		}
	})
}

// TestBlockIsBounded in what it takes, in number and in time.
func TestBlockIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 1})
		n, client, fresh := c.Node(0), c.AddClient(), c.New()
		for _, test := range []struct {
			name string
			n    *cluster.Node
			id   core.MemberID
			d    time.Duration
			is   error
		}{
			{"nobody", n, "", 0, core.ErrInvalid},
			{"itself", n, n.ID(), 0, core.ErrInvalid},
			{"negative", n, "x", -1, core.ErrInvalid},
			{"too long", n, "x", cluster.MaxBan + 1, core.ErrInvalid},
			{"as long as may be", n, "x", cluster.MaxBan, nil},
			{"again", n, "x", time.Minute, nil},
			{"a client", client, "x", 0, core.ErrUnsupported},
			{"not started", fresh, "x", 0, core.ErrStopped},
		} {
			if err := test.n.Block(test.id, test.d, ""); !errors.Is(err, test.is) {
				t.Errorf("%s: %v, want %v", test.name, err, test.is)
			}
		}
		synctest.Wait()
		var err error
		for i := 1; err == nil && i < 2*cluster.MaxBans; i++ {
			err = n.Block(core.MemberID(fmt.Sprint("m", i)), time.Hour, "")
			synctest.Wait()
			if (err != nil) != (i >= cluster.MaxBans) {
				t.Errorf("ban %d: %v", i, err)
			}
		}
		if !errors.Is(err, core.ErrOverloaded) {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Hour + time.Second) // all but the first have ended
		if err := n.Block("y", time.Hour, ""); err != nil {
			t.Errorf("after the end of the others: %v", err)
		}
		if err := c.Stop(0); err != nil {
			t.Error(err)
		}
		if err := n.Block("z", 0, ""); !errors.Is(err, core.ErrStopped) {
			t.Errorf("after Stop: %v", err)
		}
	})
}

// TestUnblock: a member lets in again whom it has blocked, all others follow, and grains there answer; what
// another has blocked too stays so until that one lets in as well.
func TestUnblock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memory.NewHub()
		c := clustertest.Start(t, clustertest.Config{Members: 4, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Provider = unordered{hub.Provider()}
		}})
		c.Agree()
		time.Sleep(2 * time.Second)
		a, b, other, bad := c.Node(0), c.Node(1), c.Node(2), c.Node(3)
		blocked := func(n *cluster.Node, by ...core.MemberID) {
			t.Helper()
			slices.Sort(by)
			got := n.Blocked()
			if len(by) == 0 && len(got) == 0 {
				return
			}
			if len(got) != 1 || got[0].ID != bad.ID() || !slices.Equal(got[0].By, by) || got[0].For <= 0 || got[0].For > time.Hour {
				t.Errorf("%s refuses %+v, want %s by %v", n.ID(), got, bad.ID(), by)
			}
			if _, listed := n.View().Member(bad.ID()); listed {
				t.Errorf("%s lists the blocked one", n.ID())
			}
		}
		if err := errors.Join(a.Block(bad.ID(), time.Hour, "it does harm"), b.Block(bad.ID(), 30*time.Minute, "")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for _, n := range []*cluster.Node{a, b, other} {
			blocked(n, a.ID(), b.ID())
		}
		if got := a.Blocked()[0].Reason; got != "it does harm" {
			t.Errorf("the reason is %q", got)
		}
		if err := a.Unblock(bad.ID(), "unknown"); !errors.Is(err, core.ErrConflict) || !strings.Contains(err.Error(), string(b.ID())) {
			t.Errorf("blocked by another too: %v", err)
		}
		time.Sleep(5 * time.Second)
		for _, n := range []*cluster.Node{a, b, other} {
			blocked(n, b.ID())
		}
		if err := b.Unblock(bad.ID()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // by the back-off of links
		c.Agree()
		for _, n := range []*cluster.Node{a, b, other} {
			blocked(n)
		}
		for _, id := range clustertest.Identities("Keeper", 30) {
			for _, n := range []*cluster.Node{bad, other} {
				if _, err := keep(t.Context(), n, id.Kind, id.Key, "x"); err != nil {
					t.Errorf("let in again: %v", err)
				}
			}
		}
		if err := c.AddClient().Unblock(bad.ID()); !errors.Is(err, core.ErrUnsupported) {
			t.Errorf("a client: %v", err)
		}
		if err := c.New().Unblock(bad.ID()); !errors.Is(err, core.ErrStopped) {
			t.Errorf("before the start: %v", err)
		}
	})
}

// TestBansAreNotSaidForNothing: a ban that one member says makes no others speak.
func TestBansAreNotSaidForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		c.Agree()
		if err := c.Node(0).Block("stranger", time.Hour, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		for i := 1; i < 3; i++ {
			if got := c.Node(i).Blocked(); len(got) != 1 || got[0].ID != "stranger" {
				t.Errorf("member %d refuses %v", i, got)
			}
		}
		if err := c.Node(0).Unblock("stranger"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := c.Node(2).Blocked(); len(got) > 0 {
			t.Errorf("%v", got)
		}
		for i := 1; i < 3; i++ {
			if v, said := c.Node(0).State(c.Node(i).ID(), "blocked"); said {
				t.Errorf("member %d says %v", i, v)
			}
		}
	})
}
