package matrix

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/consul"
)

// patience is how long anything may take on a machine that does much else.
const patience = 2 * time.Minute

// mate is a member of a cluster in Consul that is a provider alone, as a node at Level 0 has it.
type mate struct {
	core.Provider
	t    testing.TB
	self core.Member
	wire *wire

	mu    sync.Mutex
	views []*core.View
	news  chan struct{}
}

// newMate makes a member that has not joined, on a wire of its own to the server.
func newMate(t testing.TB, addr string, cfg consul.Config, id string) *mate {
	t.Helper()
	w := newWire(t, addr)
	cfg.Address = w.addr
	m := &mate{Provider: newConsul(t, cfg), t: t, wire: w, news: make(chan struct{})}
	m.self = core.Member{ID: core.MemberID(id), Address: "10.9.0." + fmt.Sprint(1+rand.N(250)) + ":" + fmt.Sprint(1024+rand.N(60000)), Kinds: []string{"Cart"}, Status: core.Up}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		_ = m.Leave(ctx) // tests look at its error where it matters
	})
	return m
}

func mateEnv() core.Env {
	return core.Env{
		Logger: slog.New(slog.DiscardHandler), Clock: core.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)),
		Hooks: &core.Hooks{}, Go: func(_ string, f func()) { go f() },
	}
}

func (m *mate) report(v *core.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.views = append(m.views, v)
	close(m.news)
	m.news = make(chan struct{})
}

func (m *mate) join() *mate {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	if err := m.Join(ctx, mateEnv(), m.self, m.report); err != nil {
		m.t.Fatalf("%s: %v", m.self.ID, err)
	}
	return m
}

// last is the newest view, and how many there were.
func (m *mate) last() (*core.View, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.views) == 0 {
		return nil, 0
	}
	return m.views[len(m.views)-1], len(m.views)
}

// await waits for a view that ok accepts, and returns it.
func (m *mate) await(what string, ok func(*core.View) bool) *core.View {
	m.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		m.mu.Lock()
		news := m.news
		m.mu.Unlock()
		v, _ := m.last()
		if v != nil && ok(v) {
			return v
		}
		select {
		case <-news:
		case <-limit.C:
			m.t.Fatalf("%s was not told within %v: %s; it sees %s", m.self.ID, patience, what, ids(v))
		}
	}
}

func ids(v *core.View) string {
	if v == nil {
		return "nothing"
	}
	var out []string
	for m := range v.All() {
		out = append(out, string(m.ID))
	}
	return strings.Join(out, " ")
}

// see waits until each of ms is told of exactly the members of them.
func see(t testing.TB, ms ...*mate) {
	t.Helper()
	for _, m := range ms {
		m.await(fmt.Sprint("exactly ", len(ms), " members"), func(v *core.View) bool { return sees(v, ms...) })
	}
}

func sees(v *core.View, ms ...*mate) bool {
	for _, m := range ms {
		if _, ok := v.Member(m.self.ID); !ok {
			return false
		}
	}
	return v.Len() == len(ms)
}

// mates are n members that have joined and see each other.
func mates(t testing.TB, addr string, cfg consul.Config, n int) []*mate {
	t.Helper()
	var ms []*mate
	for i := range n {
		ms = append(ms, newMate(t, addr, cfg, fmt.Sprint("m", i)).join())
	}
	see(t, ms...)
	return ms
}

// untouched looks whether the members of ms have been told of nothing but the rows of ms, in the epoch of before,
// and a newcomer is let in and seen.
func untouched(t testing.TB, addr string, cfg consul.Config, ms []*mate, before *core.View) {
	t.Helper()
	late := newMate(t, addr, cfg, "late").join()
	see(t, append([]*mate{late}, ms...)...)
	for _, m := range ms {
		v, _ := m.last()
		if v.Lineage() != before.Lineage() || v.Epoch() != before.Epoch()+1 {
			t.Errorf("%s: epoch %d of lineage %s, want one more than %d of %s: only the newcomer changed it", m.self.ID, v.Epoch(), v.Lineage(), before.Epoch(), before.Lineage())
		}
	}
}
