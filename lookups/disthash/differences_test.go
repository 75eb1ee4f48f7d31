package disthash

import (
	"errors"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
)

// The tests of this file are named in docs/differences.md: each shows that a known weakness of another
// lookup is none here.

// TestOwnersAreThoseOfOneView asks for owners from many goroutines while views come: an answer is always
// that of one of the two views in question, and after Reshape has returned it is that of the new one.
func TestOwnersAreThoseOfOneView(t *testing.T) {
	c := newFakeCluster(t)
	h := c.add(member(0, "Cart"), Config{})
	defer c.stop()
	views := []*core.View{view(t, members(3)...), view(t, members(4)...)}
	tables := []*table{newTable(views[0], false), newTable(views[1], false)}
	c.install(views[0])
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for g := range 3 {
		asking.Go(func() {
			for i := g; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := identity(i % 500)
				got, ok := h.lookup.Owner(id)
				old, _ := tables[0].owner(id)
				fresh, _ := tables[1].owner(id)
				if !ok || got.ID != old.ID && got.ID != fresh.ID {
					t.Errorf("%v is owned by %q; the views say %q and %q", id, got.ID, old.ID, fresh.ID)
					return
				}
			}
		})
	}
	for n := range 100 {
		at := (n + 1) % 2
		c.install(views[at])
		for i := range 20 {
			want, _ := tables[at].owner(identity(i))
			if got, _ := h.lookup.Owner(identity(i)); got.ID != want.ID {
				t.Errorf("after the view %v is owned by %q, want %q", identity(i), got.ID, want.ID)
			}
		}
	}
	close(stop)
	asking.Wait()
}

// TestKindOfNobodyIsRefusedAtOnce resolves a kind that no member lists, here and for another member.
func TestKindOfNobodyIsRefusedAtOnce(t *testing.T) {
	c := newFakeCluster(t)
	h := c.add(member(0, "Cart"), Config{})
	defer c.stop()
	c.install(view(t, members(2)...))
	id := core.Identity{Kind: "Nobody", Key: "k"}
	if _, err := h.lookup.Resolve(t.Context(), id); !errors.Is(err, core.ErrNoMember) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("resolve: %v; want ErrNoMember, undelivered", err)
	}
	request, err := encodeRequest(id, h.lookup.state.Load().now.view, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.lookup.Handle(t.Context(), member(1), request); !errors.Is(err, core.ErrNoMember) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("for another member: %v; want ErrNoMember, undelivered", err)
	}
}
