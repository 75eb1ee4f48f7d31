package viewkeeper

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// node is a provider that nobody drives, and what it reported last.
type node struct {
	*Provider
	self core.Member

	mu      sync.Mutex
	view    *core.View
	views   []*core.View
	reports int
}

func newNode(t *testing.T, b Backend, id string) *node {
	n := &node{Provider: New(Config{Name: "shelf", Promises: core.Promises{Ordered: true}, TTL: ttl}, b)}
	n.self = core.Member{ID: core.MemberID(id), Address: id + ":1", Status: core.Up}
	t.Cleanup(func() { _ = n.Leave(context.WithoutCancel(t.Context())) }) // tests look at its error where it matters
	return n
}

func (n *node) env() core.Env {
	return core.Env{
		Logger: slog.New(slog.DiscardHandler), Clock: suitetest.NewClock(), Rand: rand.New(rand.NewPCG(1, 2)),
		Hooks: &core.Hooks{}, Go: func(_ string, f func()) { go f() },
	}
}

func (n *node) report(v *core.View) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.view = v
	n.views = append(n.views, v)
	n.reports++
}

// all looks at each view that was told.
func (n *node) all(look func(*core.View)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range n.views {
		look(v)
	}
}

func (n *node) join(ctx context.Context) error { return n.Join(ctx, n.env(), n.self, n.report) }

func (n *node) watch(ctx context.Context) error { return n.Watch(ctx, n.env(), n.report) }

func (n *node) members() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view.Len()
}

// drop takes all leases away, as a backend does that was paused for longer than they last.
func (s *shelf) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.leases)
	clear(s.renewed)
	s.changed()
}

func TestLivingMembersMakeTheirLeasesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf(true)
		one, two, dead := newNode(t, shelf, "one"), newNode(t, shelf, "two"), newNode(t, &severed{Backend: shelf}, "dead")
		for _, n := range []*node{one, two, dead} {
			if err := n.join(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cut := dead.backend.(*severed)
		cut.mu.Lock()
		cut.off = true
		cut.mu.Unlock()
		shelf.drop()
		begin := time.Now()
		for one.members() == 3 || two.members() == 3 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(begin); took < ttl*3/20 || took > ttl/4 {
			t.Errorf("a member without a lease was out after %v, the grace is %v", took, ttl*3/20)
		}
		time.Sleep(3 * ttl)
		if one.members() != 2 || two.members() != 2 {
			t.Errorf("the living see %d and %d members, want each other", one.members(), two.members())
		}
	})
}

// A lease that is driven from outside is not made again: whoever drives it goes by its end.
func TestDrivenLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf(true)
		driven := newNode(t, shelf, "driven")
		if err := errors.Join(driven.join(t.Context()), driven.RenewLease(t.Context())); err != nil {
			t.Fatal(err)
		}
		shelf.drop()
		synctest.Wait()
		if err := driven.RenewLease(t.Context()); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("renewal of a lease that was taken away: %v, want ErrEvicted", err)
		}
	})
}

// slow is a backend whose writes take until they are let go, whatever their context says.
type slow struct {
	*shelf
	writing, let chan struct{}
}

func (s *slow) Write(_ context.Context, old string, next core.Topology, record []byte) error {
	close(s.writing)
	<-s.let
	return s.shelf.Write(context.Background(), old, next, record)
}

func TestLeaveComesAfterTheJoinUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf(true)
		n := newNode(t, &slow{shelf, make(chan struct{}), make(chan struct{})}, "late")
		joined := make(chan error, 1)
		go func() { joined <- n.join(t.Context()) }()
		b := n.backend.(*slow)
		<-b.writing
		n.backend = shelf // further writes are not slow
		time.AfterFunc(time.Second, func() { close(b.let) })
		if err := n.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-joined; err != nil && !errors.Is(err, core.ErrStopped) {
			t.Errorf("join: %v, want ErrStopped or nil", err)
		}
		v, err := parse(shelf.record)
		if err != nil || v.Len() != 0 || len(shelf.leases) != 0 {
			t.Errorf("after Leave the record has %d rows and %d leases: %v", v.Len(), len(shelf.leases), err)
		}
	})
}
