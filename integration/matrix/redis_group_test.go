package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/storetest"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/providers/redis"
)

// within is how long it may take until a group of servers stands.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// on makes a store on an application's own client.
func on(t testing.TB, c goredis.UniversalClient) *redis.Store {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	s, err := redis.NewStore(redis.StoreConfig{}, redis.Use(c))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRedisStoreOnACluster runs the suite on three masters; then one is killed, and what the others hold is
// served. What it held is there again when it is back.
func TestRedisStoreOnACluster(t *testing.T) {
	c, err := servers.StartRedisCluster(within(t), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	client := func() goredis.UniversalClient {
		return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: c.Addrs(), DisableIdentity: true, MaxRetries: -1})
	}
	storetest.Run(t, storetest.Harness{New: func(t testing.TB) func() core.Store {
		return func() core.Store { return on(t, client()) }
	}})

	s := on(t, client())
	key := func(i int) core.Key { return core.Key{Group: fmt.Sprint("Cart/", i), Name: "state"} }
	const groups = 60
	for i := range groups {
		if _, err := s.Put(t.Context(), key(i), fmt.Append(nil, i), core.Absent); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Masters[1].Kill(); err != nil {
		t.Fatal(err)
	}
	served := 0
	for i := range groups {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		it, err := s.Get(ctx, key(i))
		cancel()
		switch {
		case err == nil && string(it.Value) == fmt.Sprint(i):
			served++
		case !errors.Is(err, core.ErrUnreachable) && !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("group %d: %q, %v", i, it.Value, err)
		}
	}
	if served < groups/2 || served > groups*5/6 {
		t.Errorf("%d of %d groups are served without one master of three", served, groups)
	}
	if err := c.Masters[1].Start(within(t)); err != nil {
		t.Fatal(err)
	}
	for i := range groups {
		eventually(t, func() error {
			it, err := s.Get(t.Context(), key(i))
			if err == nil && string(it.Value) != fmt.Sprint(i) {
				t.Fatalf("group %d: %q", i, it.Value)
			}
			return err
		})
	}
}

// TestRedisStoreFailsOver: the replica takes over, and all that it had acknowledged to the master is there.
// What it had not may be gone, which is why a Redis with replicas promises no more than it does.
func TestRedisStoreFailsOver(t *testing.T) {
	g, err := servers.StartRedisSentinel(within(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Stop() })
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: g.Name, SentinelAddrs: g.Addrs(), DisableIdentity: true, MaxRetries: -1})
	s := on(t, client)
	key := func(i int) core.Key { return core.Key{Group: "Cart/alice", Name: fmt.Sprint(i)} }
	if _, err := s.Fence(t.Context(), "Cart/alice", core.Token{Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	revisions := map[int]core.Revision{}
	for i := range 100 {
		if revisions[i], err = s.Put(t.Context(), key(i), fmt.Append(nil, i), core.Absent); err != nil {
			t.Fatal(err)
		}
	}
	written := offset(t, g.Master, "master_repl_offset")
	eventually(t, func() error {
		if have := offset(t, g.Replica, "slave_repl_offset"); have < written {
			return fmt.Errorf("the replica has %d of %d bytes", have, written)
		}
		return nil
	})
	if err := g.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := s.Put(t.Context(), key(1000), []byte("after"), core.Any)
		return err
	})
	for i := range 100 {
		if it, err := s.Get(t.Context(), key(i)); err != nil || it.Revision != revisions[i] || string(it.Value) != fmt.Sprint(i) {
			t.Errorf("item %d: %q at %d, %v, want revision %d", i, it.Value, it.Revision, err, revisions[i])
		}
	}
	if _, err := s.Fence(t.Context(), "Cart/alice", core.Token{Epoch: 2}); !errors.Is(err, core.ErrFenced) {
		t.Errorf("an older claim on the new master: %v", err)
	}
}

// offset is how far the stream of writes has come at a server.
func offset(t testing.TB, r *servers.Redis, field string) (n int64) {
	t.Helper()
	info, err := raw(t, r.Addr).Info(t.Context(), "replication").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(info, field+":")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatalf("%s: %v", info, err)
	}
	return n
}
