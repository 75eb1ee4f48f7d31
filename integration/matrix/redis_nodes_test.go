package matrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/redis"
)

// counter is the grain of these tests.
type counter struct{ n int }

func (c *counter) Add(_ context.Context, by int) (int, error) {
	c.n += by
	return c.n, nil
}

// newNode makes a whole node on a client of its own. It stops at the end of the test.
func newNode(t testing.TB, addr string, ttl time.Duration) *cluster.Node {
	t.Helper()
	members, err1 := redis.NewProvider(redis.ProviderConfig{Name: "shop", TTL: ttl, SingleNode: true}, open(t, redis.Config{Address: addr, Timeout: time.Second}))
	lookup, err2 := disthash.New(disthash.Config{})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	kind := grain.KindOf("Counter", func(grain.Self) (*counter, error) { return &counter{}, nil }, grain.Method("Add", (*counter).Add))
	n, err := cluster.New(cluster.Config{Name: "shop", Logger: slog.New(slog.DiscardHandler)},
		cluster.Components{Provider: members, Lookup: lookup, Kinds: grain.Kinds{kind}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		_ = n.Stop(ctx) // its server may have ended
	})
	return n
}

// load calls grains by all nodes until it is stopped, and counts.
type load struct {
	calls, failed atomic.Int64
	last          atomic.Pointer[error]
	end           context.CancelFunc
	workers       sync.WaitGroup
}

// pace is how often the grains are called in a second, at most: an outage of a minute sees more than 100,000 calls, and
// the rest of the machine can run as well.
const pace = 2500

// startLoad calls grains until the end of the test.
func startLoad(t testing.TB, nodes []*cluster.Node) *load {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	l := &load{end: cancel}
	t.Cleanup(l.stop)
	begin := time.Now()
	for w := range 8 {
		l.workers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.call(ctx, nodes[(w+i)%len(nodes)], core.Identity{Kind: "Counter", Key: fmt.Sprint((i*8 + w) % 1000)})
				for ctx.Err() == nil && l.calls.Load() > int64(pace*time.Since(begin).Seconds())+pace/10 {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	return l
}

func (l *load) call(ctx context.Context, n *cluster.Node, id core.Identity) {
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := grain.Call[int](limited, n, id, "Add", 1); err != nil {
		if ctx.Err() != nil {
			return // cut off by the end of the test
		}
		l.failed.Add(1)
		l.last.Store(&err)
	}
	l.calls.Add(1)
}

func (l *load) stop() {
	l.end()
	l.workers.Wait()
}

// outage is one way for a server to be away, and to come back.
type outage struct {
	down, up func(context.Context, *servers.Redis) error
	length   time.Duration
	calls    int64 // at least so many while it is away
	ttl      time.Duration
}

func (o outage) run(t *testing.T) {
	server := startRedis(t)
	var nodes []*cluster.Node
	for range 3 {
		n := newNode(t, server.Addr, o.ttl)
		if err := n.Start(within(t)); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	ids := awaitNodes(t, nodes)
	l := startLoad(t, nodes)
	eventually(t, func() error {
		if n := l.calls.Load(); n < 1000 {
			return fmt.Errorf("%d calls", n)
		}
		return nil
	})
	if err := o.down(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	before, begin := l.calls.Load(), time.Now()
	late := newNode(t, server.Addr, o.ttl)
	joined := make(chan error, 1)
	starting, end := context.WithTimeout(t.Context(), 5*time.Minute)
	defer end()
	go func() { joined <- late.Start(starting) }()
	for time.Since(begin) < o.length || l.calls.Load()-before < o.calls && time.Since(begin) < o.length+4*time.Minute { // on a busy machine it takes longer
		time.Sleep(50 * time.Millisecond)
	}
	select {
	case err := <-joined:
		t.Fatalf("a member has joined while the server was away: %v", err)
	default:
	}
	during := l.calls.Load() - before
	if err := o.up(within(t), server); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	if err := <-joined; err != nil {
		t.Fatalf("the member that waited: %v", err)
	}
	if took := time.Since(back); took > redis.DefaultTTL { // a short lease is shorter than a busy machine may pause
		t.Errorf("the member that waited has joined after %v", took)
	}
	all := append(nodes, late)
	after := awaitNodes(t, all)
	for id := range ids {
		if !after[id] {
			t.Errorf("%s is not listed under its ID any more", id)
		}
	}
	registered(t, server, all)
	time.Sleep(o.ttl * 3 / 2) // whoever was wrongly counted as silent would be out by now
	awaitNodes(t, all)
	l.stop()
	t.Logf("%d calls while the server was away for %v, %d failed in all", during, back.Sub(begin).Round(time.Second), l.failed.Load())
	if during < o.calls {
		t.Errorf("%d calls while the server was away, want %d", during, o.calls)
	}
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d calls failed, the last with %v", n, *l.last.Load())
	}
}

// awaitNodes waits until all nodes list each other as Up and nobody else, and returns their IDs.
func awaitNodes(t testing.TB, nodes []*cluster.Node) map[core.MemberID]bool {
	t.Helper()
	ids := map[core.MemberID]bool{}
	for _, n := range nodes {
		ids[n.Self().ID] = true
	}
	eventually(t, func() error {
		for _, n := range nodes {
			v := n.View()
			up := 0
			for m := range v.All() {
				if ids[m.ID] && m.Status == core.Up {
					up++
				}
			}
			if v.Len() != len(ids) || up != len(ids) {
				return fmt.Errorf("%s sees %s, want %d members", n.Self().ID, names(v), len(ids))
			}
		}
		return nil
	})
	return ids
}

// registered waits until each node renews its lease.
func registered(t testing.TB, server *servers.Redis, nodes []*cluster.Node) {
	t.Helper()
	admin := raw(t, server.Addr)
	before, begin := renewals(t, admin, "shop"), time.Now()
	eventually(t, func() error {
		now := renewals(t, admin, "shop")
		for _, n := range nodes {
			if id := string(n.Self().ID); now[id] == before[id] {
				return fmt.Errorf("%s does not renew", id)
			}
		}
		return nil
	})
	if took := time.Since(begin); took > redis.DefaultTTL {
		t.Errorf("all have renewed after %v", took)
	}
}

// TestRedisOutageUnderLoad: while the server is away all calls are answered, a new member waits, and when it is back
// all are there again within a lease: also if it comes back with nothing.
func TestRedisOutageUnderLoad(t *testing.T) {
	t.Parallel()
	kill := func(_ context.Context, s *servers.Redis) error { return s.Kill() }
	start := func(ctx context.Context, s *servers.Redis) error { return s.Start(ctx) }
	for name, o := range map[string]outage{
		"refuses for a minute": {down: kill, up: start, length: time.Minute, calls: 100_000, ttl: redis.DefaultTTL},
		"refuses":              {down: kill, up: start, length: 3 * shortTTL, calls: 1000, ttl: shortTTL},
		"hangs": {
			down:   func(_ context.Context, s *servers.Redis) error { return s.Pause() },
			up:     func(_ context.Context, s *servers.Redis) error { return s.Resume() },
			length: 3 * shortTTL, calls: 1000, ttl: shortTTL,
		},
		"is wiped": {
			down: kill, up: func(ctx context.Context, s *servers.Redis) error { return errors.Join(s.Wipe(), s.Start(ctx)) },
			length: 3 * shortTTL, calls: 1000, ttl: shortTTL,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.run(t)
		})
	}
}
