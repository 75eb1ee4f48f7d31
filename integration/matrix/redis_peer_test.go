package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/providers/redis"
)

// shortTTL is that of leases in these tests.
const shortTTL = 2 * time.Second

// peer is one member of a cluster in Redis, driven as the engine drives it.
type peer struct {
	*redis.Provider
	t    testing.TB
	self core.Member
	log  *journal

	running sync.WaitGroup
	mu      sync.Mutex
	views   []*core.View
}

// journal keeps what is logged.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(p))
	return len(p), nil
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.lines, func(l string) bool { return strings.Contains(l, text) })
}

// newPeer makes a member that has not joined. It leaves at the end of the test.
func newPeer(t testing.TB, c *redis.Client, cfg redis.ProviderConfig, id string) *peer {
	t.Helper()
	if cfg.TTL == 0 {
		cfg.TTL = shortTTL
	}
	p, err := redis.NewProvider(cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	m := &peer{Provider: p, t: t, log: &journal{}, self: core.Member{
		ID: core.MemberID(id), Address: id + ":7000", Kinds: []string{"Cart"}, Status: core.Up, Weight: 100,
	}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		_ = m.Leave(ctx) // its error matters where it is looked at
		m.running.Wait()
	})
	return m
}

func (m *peer) env() core.Env {
	return core.Env{
		Logger: slog.New(slog.NewTextHandler(m.log, nil)), Clock: core.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)),
		Hooks: &core.Hooks{}, Go: func(_ string, f func()) { m.running.Go(f) },
	}
}

func (m *peer) report(v *core.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.views = append(m.views, v)
}

// try joins within limit.
func (m *peer) try(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(m.t.Context(), limit)
	defer cancel()
	return m.Join(ctx, m.env(), m.self, m.report)
}

func (m *peer) join() {
	m.t.Helper()
	if err := m.try(30 * time.Second); err != nil {
		m.t.Fatal(err)
	}
}

// last is the newest view; nil before the first.
func (m *peer) last() *core.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.views) == 0 {
		return nil
	}
	return m.views[len(m.views)-1]
}

// await waits until the newest view is as ok says.
func (m *peer) await(what string, ok func(*core.View) bool) *core.View {
	m.t.Helper()
	var v *core.View
	eventually(m.t, func() error {
		if v = m.last(); v == nil || !ok(v) {
			return fmt.Errorf("%s was not told: %s; last was %s", m.self.ID, what, names(v))
		}
		return nil
	})
	return v
}

func names(v *core.View) string {
	if v == nil {
		return "nothing"
	}
	out := fmt.Sprint("epoch ", v.Epoch(), ":")
	for m := range v.All() {
		out += " " + string(m.ID)
	}
	return out
}

// lists says that a view lists exactly ids.
func lists(ids ...core.MemberID) func(*core.View) bool {
	slices.Sort(ids)
	return func(v *core.View) bool {
		var got []core.MemberID
		for m := range v.All() {
			got = append(got, m.ID)
		}
		return slices.Equal(got, ids)
	}
}

func idsOf(ms []*peer) (ids []core.MemberID) {
	for _, m := range ms {
		ids = append(ids, m.self.ID)
	}
	return ids
}

// settle waits until each of ms lists exactly ms.
func settle(ms ...*peer) {
	ms[0].t.Helper()
	for _, m := range ms {
		m.await(fmt.Sprint("exactly ", idsOf(ms)), lists(idsOf(ms)...))
	}
}

// trio is three members of one name on one server.
func trio(t testing.TB, addr, name string) []*peer {
	t.Helper()
	var ms []*peer
	for i := range 3 {
		c := open(t, redis.Config{Address: addr, Timeout: time.Second})
		m := newPeer(t, c, redis.ProviderConfig{Name: name, SingleNode: true}, fmt.Sprint(name, "-m", i))
		m.join()
		ms = append(ms, m)
	}
	settle(ms...)
	return ms
}

// unchanged says that no member has gone or come since before.
func unchanged(t testing.TB, before *core.View, ms ...*peer) {
	t.Helper()
	for _, m := range ms {
		if now := m.last(); now.Epoch() != before.Epoch() || now.Lineage() != before.Lineage() {
			t.Errorf("%s: %s of lineage %s, want still %s of %s", m.self.ID, names(now), now.Lineage(), names(before), before.Lineage())
		}
	}
}

// renewals are how often the members of a cluster have renewed.
func renewals(t testing.TB, c *goredis.Client, name string) map[string]string {
	t.Helper()
	all, err := c.HGetAll(t.Context(), "{granary:"+name+"}:leases").Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// renewing waits until each of ms has renewed, and says how long that took.
func renewing(t testing.TB, c *goredis.Client, name string, ms ...*peer) time.Duration {
	t.Helper()
	begin, before := time.Now(), renewals(t, c, name)
	eventually(t, func() error {
		now := renewals(t, c, name)
		for _, m := range ms {
			if n, held := now[string(m.self.ID)]; !held || n == before[string(m.self.ID)] {
				return fmt.Errorf("%s does not renew: %v after %v", m.self.ID, now, before)
			}
		}
		return nil
	})
	return time.Since(begin)
}

// record reads the stored record.
func record(t testing.TB, c *goredis.Client, name string) (r core.ViewRecord) {
	t.Helper()
	text, err := c.HGet(t.Context(), "{granary:"+name+"}:view", "record").Result()
	if err == nil {
		err = json.Unmarshal([]byte(text), &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// put stores a record as somebody with an editor would, who leaves the write ID beside it as it is.
func put(t testing.TB, c *goredis.Client, name string, r core.ViewRecord) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, "HSET", "{granary:"+name+"}:view", "record", text)
}

// again starts a server that has ended.
func again(t testing.TB, s *servers.Redis) {
	t.Helper()
	if err := s.Start(within(t)); err != nil {
		t.Fatal(err)
	}
}
