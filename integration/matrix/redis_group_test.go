package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/providertest"
	"github.com/granary-go/granary/core/storetest"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
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
	t.Parallel()
	c := serverstest.RedisCluster(t, 3)
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
	t.Parallel()
	g := serverstest.RedisSentinel(t)
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: g.Name, SentinelAddrs: g.Addrs(), DisableIdentity: true, MaxRetries: -1})
	s := on(t, client)
	key := func(i int) core.Key { return core.Key{Group: "Cart/alice", Name: fmt.Sprint(i)} }
	if _, err := s.Fence(t.Context(), "Cart/alice", core.Token{Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	revisions := map[int]core.Revision{}
	var err error
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

// TestRedisProviderFailsOver: the master of a Sentinel deployment is killed. What it had sent to the replica is there;
// a join that it had not sent is what may be lost, and the member stores itself again.
func TestRedisProviderFailsOver(t *testing.T) {
	t.Parallel()
	g := serverstest.RedisSentinel(t)
	member := func(id string) *peer {
		client := goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: g.Name, SentinelAddrs: g.Addrs(), DisableIdentity: true, MaxRetries: -1,
			DialTimeout: time.Second, ReadTimeout: time.Second, ContextTimeoutEnabled: true,
		})
		t.Cleanup(func() { _ = client.Close() })
		return newPeer(t, redis.Use(client), redis.ProviderConfig{Name: "shop"}, id)
	}
	var ms []*peer
	for i := range 3 {
		ms = append(ms, member(fmt.Sprint("m", i)))
		ms[i].join()
	}
	settle(ms...)
	written := offset(t, g.Master, "master_repl_offset")
	eventually(t, func() error {
		if have := offset(t, g.Replica, "slave_repl_offset"); have < written {
			return fmt.Errorf("the replica has %d of %d bytes", have, written)
		}
		return nil
	})
	before := ms[0].last()
	if p := ms[0].Promises(); p.Linearizable || !p.Ordered {
		t.Errorf("it promises %+v", p)
	}
	if err := g.Replica.Pause(); err != nil { // so that the next join is not sent to it
		t.Fatal(err)
	}
	late := member("late")
	late.join()
	settle(append(ms, late)...)
	if err := errors.Join(g.Master.Kill(), g.Replica.Resume()); err != nil {
		t.Fatal(err)
	}
	all := append(ms, late)
	eventually(t, func() error {
		r, err := raw(t, g.Replica.Addr).HGet(t.Context(), "{granary:shop}:view", "record").Result()
		if err == nil && !strings.Contains(r, `"late"`) {
			err = fmt.Errorf("the new master does not list the one whose join was lost: %s", r)
		}
		return err
	})
	renewing(t, raw(t, g.Replica.Addr), "shop", all...)
	settle(all...)
	for _, m := range all {
		if v := m.last(); v.Lineage() != before.Lineage() || v.Epoch() <= before.Epoch() {
			t.Errorf("%s: %s of lineage %s, after %s of %s", m.self.ID, names(v), v.Lineage(), names(before), before.Lineage())
		}
		if err := m.Update(t.Context(), m.self); err != nil {
			t.Errorf("update by %s: %v", m.self.ID, err)
		}
	}
}

// TestRedisProviderOnACluster runs the suite on three masters. Then the one that has the record is killed, longer
// than leases last: nobody goes, and it goes on when the master is back. The other masters' ends are not noticed.
func TestRedisProviderOnACluster(t *testing.T) {
	t.Parallel()
	c := serverstest.RedisCluster(t, 3)
	connect := func() (goredis.UniversalClient, func()) {
		client := goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs: c.Addrs(), DisableIdentity: true, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second,
		})
		end := sync.OnceFunc(func() { _ = client.Close() })
		t.Cleanup(end)
		return client, end
	}
	providertest.Run(t, redisHarness(redis.ProviderConfig{TTL: shortTTL}, func(testing.TB) (*redis.Client, func()) {
		client, end := connect()
		return redis.Use(client), end
	}))

	var ms []*peer
	for i := range 3 {
		client, _ := connect()
		ms = append(ms, newPeer(t, redis.Use(client), redis.ProviderConfig{Name: "shop"}, fmt.Sprint("m", i)))
		ms[i].join()
	}
	settle(ms...)
	before := ms[0].last()
	admin, _ := connect()
	slot, err := admin.ClusterKeySlot(t.Context(), "{granary:shop}:view").Result()
	if err != nil {
		t.Fatal(err)
	}
	home := int(slot) * len(c.Masters) / (1 << 14)
	for i, m := range c.Masters {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * shortTTL)
		err := ms[0].Update(t.Context(), ms[0].self)
		if i == home && !errors.Is(err, core.ErrUnreachable) {
			t.Errorf("update while the master of the record is away: %v", err)
		}
		again(t, m)
		eventually(t, func() error { return ms[0].Update(t.Context(), ms[0].self) })
		time.Sleep(shortTTL * 3 / 2)
		unchanged(t, before, ms...)
	}
}
