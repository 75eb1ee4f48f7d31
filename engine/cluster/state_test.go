package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
)

// watching follows one key at one node.
func watching(t *testing.T, n *cluster.Node, key string) *cluster.StateWatch[string] {
	t.Helper()
	w, err := cluster.WatchState[string](n, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// upcoming is the next update, which is to come within a few rounds.
func upcoming(t *testing.T, w *cluster.StateWatch[string]) cluster.StateUpdate[string] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	u, err := w.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func silent(t *testing.T, w *cluster.StateWatch[string]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if u, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("told of %+v, %v", u, err)
	}
}

// TestStateIsRemoved: a member removes a key. All others, clients too, read it no more, are told so once, and
// take a later value.
func TestStateIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 3, cluster.GossipConfig{})
		client := c.AddClient()
		c.Agree()
		owner := c.Node(0)
		readers := []*cluster.Node{owner, c.Node(1), client}
		var mu sync.Mutex
		var events []cluster.StateChanged
		c.Node(1).Subscribe(func(e cluster.Event) {
			if s, ok := e.(cluster.StateChanged); ok && s.Member == owner.ID() && s.Key == "colour" {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, s)
			}
		})
		var watches []*cluster.StateWatch[string]
		for _, n := range readers {
			watches = append(watches, watching(t, n, "colour"))
		}
		if err := errors.Join(owner.SetState(t.Context(), "colour", "red"), owner.SetState(t.Context(), "size", "L")); err != nil {
			t.Fatal(err)
		}
		var set uint64
		for _, w := range watches {
			u := upcoming(t, w)
			if u.Gone || u.Value != "red" || u.Member != owner.ID() {
				t.Fatalf("%+v", u)
			}
			set = u.Version
		}
		for range 2 { // the second has nothing to remove
			if err := owner.RemoveState(t.Context(), "colour"); err != nil {
				t.Fatal(err)
			}
		}
		for i, w := range watches {
			u := upcoming(t, w)
			if !u.Gone || u.Value != "" || u.Member != owner.ID() || u.Version <= set {
				t.Errorf("reader %d: %+v", i, u)
			}
		}
		joined := c.Add()
		for _, n := range append(readers, joined) {
			knows(t, n, "size", 1)
			if v, ok := n.State(owner.ID(), "colour"); ok {
				t.Errorf("%s reads %+v", n.ID(), v)
			}
			if all, err := cluster.StateOf[string](n, "colour"); len(all) > 0 || err != nil {
				t.Errorf("%s: %v, %v", n.ID(), all, err)
			}
			keys := n.StateKeys(owner.ID())
			if !slices.Contains(keys, "size") || slices.ContainsFunc(keys, func(k string) bool { return k == "colour" || strings.HasPrefix(k, "$") }) {
				t.Errorf("%s lists %v", n.ID(), keys)
			}
		}
		mu.Lock()
		if len(events) != 2 || events[0].Gone || !events[1].Gone || events[1].Version <= events[0].Version {
			t.Errorf("events %+v", events)
		}
		mu.Unlock()
		if err := owner.SetState(t.Context(), "colour", "blue"); err != nil {
			t.Fatal(err)
		}
		for i, w := range watches {
			if u := upcoming(t, w); u.Gone || u.Value != "blue" {
				t.Errorf("reader %d, set anew: %+v", i, u)
			}
		}
	})
}

// TestPlaceOfARemovedKey is free as soon as all have heard.
func TestPlaceOfARemovedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 2, cluster.GossipConfig{})
		c.Agree()
		set := func(key string) error { return c.Node(0).SetState(t.Context(), key, "v") }
		full := 0
		for set(fmt.Sprint(full)) == nil {
			full++
		}
		if full < 60 {
			t.Fatalf("%d keys, want 60 or more", full)
		}
		c.Cut(0, 1)
		if err := c.Node(0).RemoveState(t.Context(), "0"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := set("new"); !errors.Is(err, cluster.ErrStateKeys) {
			t.Errorf("before the other knows: %v", err)
		}
		c.Heal(0, 1)
		time.Sleep(3 * time.Second)
		if err := set("new"); err != nil {
			t.Errorf("once the other knows: %v", err)
		}
		if err := set("newer"); !errors.Is(err, cluster.ErrStateKeys) {
			t.Errorf("one more: %v", err)
		}
	})
}

// TestRemoveStateRefuses what SetState refuses.
func TestRemoveStateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 1, cluster.GossipConfig{})
		n := c.Node(0)
		before := n.GossipStats().Refused
		for _, key := range []string{"topology", "heartbeat", "left", "blocked", "$keys", "$"} {
			if err := n.RemoveState(t.Context(), key); !errors.Is(err, core.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "remove state") {
				t.Errorf("%s: %v", key, err)
			}
		}
		if got := n.GossipStats().Refused - before; got != 6 {
			t.Errorf("%d refusals are counted, want 6", got)
		}
		if err := c.New().RemoveState(t.Context(), "k"); !errors.Is(err, core.ErrStopped) {
			t.Errorf("before the start: %v", err)
		}
	})
}

// TestClientReadsState, all ways that members have, and sets none: it is told why.
func TestClientReadsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 2, cluster.GossipConfig{})
		client := c.AddClient()
		c.Agree()
		w := watching(t, client, "colour")
		for i, colour := range []string{"red", "blue"} {
			if err := c.Node(i).SetState(t.Context(), "colour", colour); err != nil {
				t.Fatal(err)
			}
			if u := upcoming(t, w); u.Value != colour || u.Member != c.Node(i).ID() {
				t.Errorf("%+v, want %s", u, colour)
			}
			v, ok := client.State(c.Node(i).ID(), "colour")
			if got, err := cluster.DecodeState[string](v.Message); !ok || got != colour || err != nil {
				t.Errorf("%q, %v, %v", got, ok, err)
			}
		}
		all, err := cluster.StateOf[string](client, "colour")
		if err != nil || len(all) != 2 || all[c.Node(1).ID()] != "blue" {
			t.Errorf("%v, %v", all, err)
		}
		for what, err := range map[string]error{"set": client.SetState(t.Context(), "colour", "green"), "remove": client.RemoveState(t.Context(), "colour")} {
			if !errors.Is(err, core.ErrUnsupported) || !strings.Contains(err.Error(), "a client reads state") {
				t.Errorf("%s: %v", what, err)
			}
		}
		silent(t, w)
	})
}

// TestNobodyIsToldOfTheEndOfWhatHeDidNotSee, nor twice of one end.
func TestNobodyIsToldOfTheEndOfWhatHeDidNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 2, cluster.GossipConfig{})
		c.Agree()
		owner := c.Node(1)
		seen, unseen := watching(t, c.Node(0), "colour"), watching(t, c.Node(0), "colour")
		if err := owner.SetState(t.Context(), "colour", "red"); err != nil {
			t.Fatal(err)
		}
		if u := upcoming(t, seen); u.Gone {
			t.Errorf("%+v", u)
		}
		if err := owner.RemoveState(t.Context(), "colour"); err != nil {
			t.Fatal(err)
		}
		if u := upcoming(t, seen); !u.Gone {
			t.Errorf("%+v", u)
		}
		silent(t, unseen)
		if err := c.Stop(1); err != nil {
			t.Fatal(err)
		}
		silent(t, seen)
	})
}
