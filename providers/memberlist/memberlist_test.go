package memberlist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

func TestAloneWithoutSeeds(t *testing.T) {
	n := newNode(t, Config{}, someMember("alone"))
	if a := n.Addr(); a != "" {
		t.Fatalf("Addr before Join is %q", a)
	}
	shout(t, n.join(t.Context()))
	v := n.await(t, "itself", shows(n))
	if v.Lineage() != "" || v.Epoch() != 1 {
		t.Fatalf("lineage %q, epoch %d; want none and 1", v.Lineage(), v.Epoch())
	}
	m, _ := v.Member("alone")
	if m.Joined == 0 || m.Address != n.self.Address || !m.Hosts("Cart") {
		t.Fatalf("the own row is %+v", m)
	}
	host, port, err := net.SplitHostPort(n.Addr())
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Fatalf("Addr is %q", n.Addr())
	}
	if n.Promises() != (core.Promises{}) {
		t.Fatalf("it promises %+v", n.Promises())
	}
}

func TestSeedThatIsItself(t *testing.T) {
	at := freePort(t)
	n := newNode(t, Config{Bind: at, Seeds: []string{at}}, someMember("self-seed"))
	shout(t, n.join(t.Context()))
	n.await(t, "itself", shows(n))
}

func TestThreeMembersAgree(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: Local})
	want := nodes[0].await(t, "all", shows(nodes...)).Hash()
	for _, n := range nodes {
		v := n.await(t, "all with the rows of all", func(v *core.View) bool { return v.Hash() == want })
		for _, o := range nodes {
			m, ok := v.Member(o.self.ID)
			if !ok || m.Address != o.self.Address || m.Protocol != o.self.Protocol || !m.Hosts("Hello") {
				t.Errorf("%s sees %+v for %+v", n.self.ID, m, o.self)
			}
		}
	}
}

func TestEpochsAreLocalAndGrowByOne(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: Local})
	nodes[2].leave(t, t.Context())
	for _, n := range nodes[:2] {
		n.await(t, "two", shows(nodes[:2]...))
		n.mu.Lock()
		for i, v := range n.history {
			if v.Epoch() != uint64(i+1) || v.Lineage() != "" {
				t.Errorf("report %d of %s has epoch %d and lineage %q", i, n.self.ID, v.Epoch(), v.Lineage())
			}
			if i > 0 && n.history[i-1].Hash() == v.Hash() {
				t.Errorf("report %d of %s repeats the one before", i, n.self.ID)
			}
		}
		n.mu.Unlock()
	}
}

// Of itself the pool exchanges whole states each minute, and a test waits less.
func TestUpdateReachesOthersAtOnce(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: WAN})
	row := nodes[0].self
	row.Status, row.Kinds, row.Weight = core.Leaving, []string{"Zoo", "Cart"}, 7
	shout(t, nodes[0].Update(t.Context(), row))
	shout(t, nodes[0].Update(t.Context(), row)) // idempotent
	for _, n := range nodes {
		v := n.await(t, "the update", func(v *core.View) bool {
			m, _ := v.Member(row.ID)
			return m.Status == core.Leaving && m.Weight == 7
		})
		if m, _ := v.Member(row.ID); len(m.Kinds) != 2 || m.Kinds[0] != "Cart" || m.Kinds[1] != "Zoo" {
			t.Errorf("%s sees kinds %v", n.self.ID, m.Kinds)
		}
	}
	for _, tc := range []core.Member{{ID: "other", Address: row.Address, Status: core.Up}, {ID: row.ID, Address: "127.0.0.1:1", Status: core.Up}, {ID: row.ID, Address: row.Address}} {
		if err := nodes[0].Update(t.Context(), tc); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("update to %+v: %v", tc, err)
		}
	}
}

// A row past one packet travels by streams.
func TestLargeRow(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: Local})
	row := nodes[1].self
	row.Kinds = nil
	for i := range 900 {
		row.Kinds = append(row.Kinds, fmt.Sprintf("KindWithARatherLongName%04d", i))
	}
	shout(t, nodes[1].Update(t.Context(), row))
	for _, n := range nodes {
		n.await(t, "900 kinds", func(v *core.View) bool {
			m, _ := v.Member(row.ID)
			return len(m.Kinds) == 900
		})
	}
}

// A silent member is found after half a minute, and a test waits less.
func TestLeaveIsSeenAtOnce(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: WAN})
	nodes[1].leave(t, t.Context())
	for _, n := range []*testNode{nodes[0], nodes[2]} {
		n.await(t, "the two that stayed", shows(nodes[0], nodes[2]))
	}
	if n := nodes[1].views.Load(); n != 0 {
		t.Errorf("%d reports after Leave", n)
	}
}

func TestLifeCycle(t *testing.T) {
	ctx := t.Context()
	t.Run("leave before join", func(t *testing.T) {
		n := newNode(t, Config{}, someMember("never"))
		n.leave(t, ctx)
		n.leave(t, ctx)
		if err := n.join(ctx); !errors.Is(err, core.ErrStopped) {
			t.Errorf("join after leave: %v", err)
		}
		if err := n.Watch(ctx, n.env(), n.report); err == nil {
			t.Error("watch after leave gave no error")
		}
		if err := n.Update(ctx, n.self); !errors.Is(err, core.ErrStopped) {
			t.Errorf("update after leave: %v", err)
		}
	})
	t.Run("update before join", func(t *testing.T) {
		n := newNode(t, Config{}, someMember("early"))
		if err := n.Update(ctx, n.self); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("update before join: %v", err)
		}
	})
	t.Run("join twice", func(t *testing.T) {
		n := newNode(t, Config{}, someMember("twice"))
		shout(t, n.join(ctx))
		if err := n.join(ctx); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("second join: %v", err)
		}
	})
	t.Run("leave during join", func(t *testing.T) {
		n := newNode(t, Config{Seeds: []string{freePort(t)}}, someMember("during"))
		result := make(chan error, 1)
		go func() { result <- n.join(ctx) }()
		for n.Addr() == "" {
			time.Sleep(time.Millisecond)
		}
		n.leave(t, ctx)
		if err := <-result; !errors.Is(err, core.ErrStopped) {
			t.Errorf("join: %v", err)
		}
	})
	t.Run("leave with an ended ctx", func(t *testing.T) {
		nodes := pool(t, 2, Config{Preset: Local})
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := nodes[1].Leave(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("leave: %v", err)
		}
		nodes[1].joined(t)
		nodes[0].await(t, "itself alone", shows(nodes[0])) // found silent
	})
	t.Run("two leave at once", func(t *testing.T) {
		n := pool(t, 2, Config{Preset: Local})[1]
		done := make(chan struct{})
		go func() { defer close(done); n.leave(t, ctx) }()
		n.leave(t, ctx)
		<-done
		if _, err := net.Dial("tcp", n.self.Address); err == nil {
			t.Error("somebody listens")
		}
	})
}

func TestJoinGivesUpWithCtx(t *testing.T) {
	seed := freePort(t)
	n := newNode(t, Config{Seeds: []string{seed}}, someMember("lonely"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := n.join(ctx)
	if !errors.Is(err, core.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), seed) {
		t.Errorf("join: %v", err)
	}
	n.joined(t)
	if n.view != nil {
		t.Error("it reported a view without having joined")
	}
}

// A seed that takes connections and says nothing must not hold up the end of Join.
func TestSilentSeed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	shout(t, err)
	defer func() { _ = l.Close() }()
	n := newNode(t, Config{Preset: WAN, Seeds: []string{l.Addr().String()}}, someMember("waits")) // a stream may take 30 s
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := n.join(ctx); !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("join: %v", err)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("join took %v behind its ctx", took)
	}
}

// A member that waits for its seeds is joined by being found.
func TestFoundWhileWaiting(t *testing.T) {
	a := newNode(t, Config{Preset: Local, Seeds: []string{freePort(t)}}, someMember("waiting"))
	joined := make(chan error, 1)
	go func() { joined <- a.join(t.Context()) }()
	for a.Addr() == "" {
		time.Sleep(time.Millisecond)
	}
	b := newNode(t, Config{Preset: Local, Seeds: []string{a.Addr()}}, someMember("finder"))
	shout(t, b.join(t.Context()))
	shout(t, <-joined)
	a.await(t, "both", shows(a, b))
	b.await(t, "both", shows(a, b))
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	shout(t, err)
	defer func() { _ = l.Close() }()
	n := newNode(t, Config{Bind: l.Addr().String()}, someMember("late"))
	if err := n.join(t.Context()); !errors.Is(err, core.ErrUnreachable) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("join: %v", err)
	}
}

func TestKilledMemberIsFound(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: Local})
	start := time.Now()
	nodes[2].crash()
	for _, n := range nodes[:2] {
		n.await(t, "the survivors", shows(nodes[:2]...))
	}
	t.Logf("found after %v", time.Since(start))
}

// A process that comes back at the address of one that was killed retires it at once. That one would
// be found silent after half a minute, and a test waits less.
func TestRestartOnTheSameAddress(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: WAN})
	old := nodes[2]
	oldGossip := old.Addr()
	old.crash()
	for round := range 3 {
		fresh := newNode(t, Config{Preset: WAN, Bind: oldGossip, Seeds: []string{nodes[0].Addr()}},
			core.Member{ID: core.MemberID(fmt.Sprintf("%s-fresh-%d", t.Name(), round)), Address: old.self.Address, Kinds: old.self.Kinds, Status: core.Up})
		shout(t, fresh.join(t.Context()))
		for _, n := range []*testNode{nodes[0], nodes[1], fresh} {
			n.await(t, "the new one in place of the old", shows(nodes[0], nodes[1], fresh))
		}
		if round < 2 {
			fresh.crash()
		}
	}
}

// The clock of the machine may have been set back between two starts.
func TestRestartWithAnEarlierClock(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: WAN})
	p, err := New(Config{Preset: WAN, Seeds: []string{nodes[0].Addr()}})
	shout(t, err)
	future := &testNode{Provider: p, self: core.Member{ID: "future", Address: "127.0.0.1:19999", Status: core.Up}, log: &logBuffer{}, changed: make(chan struct{})}
	env := future.env()
	env.Clock = shiftedClock{time.Hour}
	shout(t, future.Join(t.Context(), env, future.self, future.report))
	nodes[1].await(t, "three", shows(nodes[0], nodes[1], future))
	future.crash()

	present := newNode(t, Config{Preset: WAN, Seeds: []string{nodes[0].Addr()}}, core.Member{ID: "present", Address: "127.0.0.1:19999", Status: core.Up})
	shout(t, present.join(t.Context()))
	for _, n := range []*testNode{nodes[0], nodes[1], present} {
		n.await(t, "the present start", shows(nodes[0], nodes[1], present))
	}
}

type shiftedClock struct{ by time.Duration }

func (c shiftedClock) Now() time.Time { return time.Now().Add(c.by) }
func (c shiftedClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}
func (c shiftedClock) Elapsed() time.Duration { return time.Duration(time.Now().UnixNano()) }

func TestConflict(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: Local})
	t.Run("the ID of a live member", func(t *testing.T) {
		for _, n := range nodes {
			n.await(t, "both", shows(nodes...))
		}
		twin := newNode(t, Config{Preset: Local, Seeds: []string{nodes[0].Addr()}}, core.Member{ID: nodes[1].self.ID, Address: "127.0.0.1:19998", Status: core.Up})
		if err := twin.join(t.Context()); !errors.Is(err, core.ErrConflict) {
			t.Errorf("join: %v", err)
		}
	})
	t.Run("the ID of one that left", func(t *testing.T) {
		gone := newNode(t, Config{Preset: Local, Seeds: []string{nodes[0].Addr()}}, someMember("gone"))
		shout(t, gone.join(t.Context()))
		nodes[0].await(t, "all three", shows(nodes[0], nodes[1], gone))
		gone.leave(t, t.Context())
		nodes[0].await(t, "the two", shows(nodes...))
		again := newNode(t, Config{Preset: Local, Seeds: []string{nodes[0].Addr()}}, someMember("gone"))
		if err := again.join(t.Context()); !errors.Is(err, core.ErrConflict) {
			t.Errorf("join: %v", err)
		}
	})
	for _, n := range nodes {
		n.await(t, "the two, undisturbed", shows(nodes...))
	}
}

func TestWatch(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: Local})
	client := newNode(t, Config{Preset: Local, Seeds: []string{nodes[0].Addr()}}, core.Member{})
	shout(t, client.Watch(t.Context(), client.env(), client.report))
	client.await(t, "the members", shows(nodes...))
	nodes[1].leave(t, t.Context())
	client.await(t, "the one that stayed", shows(nodes[0]))
	nodes[0].await(t, "itself: a client is in no view", shows(nodes[0]))
	if err := client.Update(t.Context(), someMember("x")); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("update of a client: %v", err)
	}
	alone := newNode(t, Config{}, core.Member{})
	if err := alone.Watch(t.Context(), alone.env(), alone.report); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("watch without seeds: %v", err)
	}
}

// The first member of a pool has no seeds, so when it comes back it is alone until the others look
// for it: as after a cut that lasted longer than the suspicion.
func TestReunion(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: Local})
	first, at := nodes[0], nodes[0].Addr()
	first.crash()
	nodes[1].await(t, "itself alone", shows(nodes[1]))
	back := newNode(t, Config{Preset: Local, Bind: at}, someMember("back"))
	shout(t, back.join(t.Context()))
	for _, n := range []*testNode{nodes[1], back} {
		n.await(t, "both", shows(nodes[1], back))
	}
}

// What comes back to one that leaves, of its own farewell or made up, does not have it speak again: a later row
// of it would take the farewell back, and then its ID could be used anew.
func TestLeaverStaysSilent(t *testing.T) {
	n := newNode(t, Config{Preset: Local}, someMember("leaver"))
	shout(t, n.join(t.Context()))
	s := n.session
	s.halt()
	s.mu.Lock()
	own := s.table.own
	s.mu.Unlock()
	s.left(departure{own.ID, own.revision}, s.address, nil)
	s.left(departure{own.ID, own.revision}, "", nil)
	later := own
	later.revision, later.Weight = own.revision+5, 9
	s.merge(later, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table.own.revision != own.revision || s.advertise {
		t.Errorf("the own row is at revision %d, was %d; it is to be spread: %v", s.table.own.revision, own.revision, s.advertise)
	}
}

// A farewell from an address that is not the member's is that of a process which used its ID by mistake.
func TestFarewellOfAnotherProcess(t *testing.T) {
	for address, gone := range map[string]bool{"of b": true, "of another": false, "": true} {
		n := newNode(t, Config{Preset: Local}, someMember("a"))
		shout(t, n.join(t.Context()))
		s := n.session
		w := rowAt("b", "h:2", 3, 1)
		s.alive(metaOf(w), "of b")
		s.merge(w, nil)
		s.left(departure{"b", 3}, address, nil)
		s.mu.Lock()
		if there := s.table.nodes["b"] != nil; there == gone {
			t.Errorf("after a farewell from %q the member is there: %v", address, there)
		}
		s.mu.Unlock()
	}
}

// A pool may suspect the member whose ID a twin uses, and then does not tell the twin so in as many words: its
// row tells. Its own row, which comes back to it while it joins, tells nothing.
func TestTwinOfASuspect(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*row)
		taken  bool
	}{
		"its own":                {func(*row) {}, false},
		"its own, of later":      {func(w *row) { w.revision += 3 }, false},
		"at another address":     {func(w *row) { w.Address = "127.0.0.1:1" }, true},
		"of another start there": {func(w *row) { w.Joined-- }, true},
	} {
		n := newNode(t, Config{Preset: Local}, someMember("twin"))
		shout(t, n.join(t.Context()))
		s := n.session
		s.mu.Lock()
		w := s.table.own
		test.change(&w)
		s.entered = false // as during the join
		s.mu.Unlock()
		s.merge(w, nil)
		if err := s.conflicted(); errors.Is(err, core.ErrConflict) != test.taken {
			t.Errorf("%s: %v, want a conflict: %v", name, err, test.taken)
		}
		s.enter()
		s.mu.Lock()
		s.taken = nil
		s.mu.Unlock()
		w.revision += 10
		s.merge(w, nil) // made up, now that the join is through
		s.mu.Lock()
		if s.taken != nil || s.table.own.revision <= w.revision {
			t.Errorf("%s, later: %v, own revision %d, want more than %d", name, s.taken, s.table.own.revision, w.revision)
		}
		s.mu.Unlock()
	}
}
