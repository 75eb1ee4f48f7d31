package matrix

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/redis"
)

// TestRedisProviderOutage: a server that was killed, and refused for longer than leases last, comes back with its
// data: nobody has gone, and all renew within a lease.
func TestRedisProviderOutage(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	before := ms[0].last()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * shortTTL)
	if err := ms[0].Update(t.Context(), ms[0].self); !errors.Is(err, core.ErrUnreachable) || !strings.Contains(err.Error(), server.Addr) {
		t.Errorf("update while the server is away: %v", err)
	}
	late := newPeer(t, open(t, redis.Config{Address: server.Addr}), redis.ProviderConfig{Name: "shop"}, "late")
	joined := make(chan error, 1)
	go func() { joined <- late.try(time.Minute) }()
	unchanged(t, before, ms...)
	again(t, server)
	admin := raw(t, server.Addr)
	if took := renewing(t, admin, "shop", ms...); took > redis.DefaultTTL {
		t.Errorf("all have renewed %v after the return", took)
	}
	if err := <-joined; err != nil {
		t.Errorf("the join that waited: %v", err)
	}
	settle(append(ms, late)...)
	time.Sleep(shortTTL * 3 / 2) // whoever was wrongly counted as silent would be out by now
	settle(append(ms, late)...)
	if now := ms[0].last(); now.Lineage() != before.Lineage() || now.Epoch() != before.Epoch()+1 {
		t.Errorf("%s, want one epoch after %s", names(now), names(before))
	}
	if !ms[0].log.has("the view cannot be read") || !ms[0].log.has("this is over") {
		t.Errorf("the outage is not in the log: %v", ms[0].log.lines)
	}
}

// TestRedisProviderWiped: all data are gone; the members store themselves again, in a new lineage, under their IDs.
func TestRedisProviderWiped(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	before := ms[0].last()
	if err := errors.Join(server.Kill(), server.Wipe()); err != nil {
		t.Fatal(err)
	}
	again(t, server)
	begin := time.Now()
	for _, m := range ms {
		m.await("all in a new lineage", func(v *core.View) bool {
			return v.Lineage() != before.Lineage() && lists(idsOf(ms)...)(v)
		})
	}
	if took := time.Since(begin); took > redis.DefaultTTL {
		t.Errorf("all were stored again after %v", took)
	}
	if now := ms[0].last(); now.Epoch() <= before.Epoch() {
		t.Errorf("epoch %d after %d", now.Epoch(), before.Epoch())
	}
	do(t, raw(t, server.Addr), "FLUSHALL") // and while everybody looks
	for _, m := range ms {
		m.await("all again", func(v *core.View) bool { return lists(idsOf(ms)...)(v) && v.Lineage() != before.Lineage() })
	}
	renewing(t, raw(t, server.Addr), "shop", ms...)
}

// TestRedisProviderPaused: a server that is stopped for longer than leases last takes nobody out when it goes on.
func TestRedisProviderPaused(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	before := ms[0].last()
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * shortTTL)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	renewing(t, raw(t, server.Addr), "shop", ms...)
	time.Sleep(shortTTL * 3 / 2)
	unchanged(t, before, ms...)
}

// TestRedisProviderSlow: every byte takes its time both ways.
func TestRedisProviderSlow(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, slowed(t, server.Addr, 100*time.Millisecond), "shop")
	before := ms[0].last()
	time.Sleep(2 * shortTTL)
	unchanged(t, before, ms...)
	ms[0].self.Weight = 7
	if err := ms[0].Update(t.Context(), ms[0].self); err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		m.await("the new weight", func(v *core.View) bool { r, _ := v.Member(ms[0].self.ID); return r.Weight == 7 })
	}
}

// TestRedisProviderWatchLost: connections that hear of news are ended again and again.
func TestRedisProviderWatchLost(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	admin := raw(t, server.Addr)
	for i := range uint16(10) {
		do(t, admin, "CLIENT", "KILL", "TYPE", "pubsub")
		ms[0].self.Weight = 1 + i
		if err := ms[0].Update(t.Context(), ms[0].self); err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			m.await("the new weight", func(v *core.View) bool { r, _ := v.Member(ms[0].self.ID); return r.Weight == 1+i })
		}
	}
	eventually(t, func() error {
		list, err := admin.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
		if n := strings.Count(list, "\n"); err == nil && n != len(ms) {
			err = fmt.Errorf("%d connections hear of news, want %d:\n%s", n, len(ms), list)
		}
		return err
	})
}

// TestRedisProviderForgetsScripts: the cache of scripts is flushed under everybody's hands.
func TestRedisProviderForgetsScripts(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	before := ms[0].last()
	admin := raw(t, server.Addr)
	for end := time.Now().Add(shortTTL * 2); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		do(t, admin, "SCRIPT", "FLUSH")
	}
	renewing(t, admin, "shop", ms...)
	unchanged(t, before, ms...)
}

// TestRedisProviderRestartsOnOneAddress: each start of a member that was killed is a new member at once.
func TestRedisProviderRestartsOnOneAddress(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	const starts = 20
	for i := range starts {
		c, cut, err := redis.Open(redis.Config{Address: server.Addr})
		if err != nil {
			t.Fatal(err)
		}
		m := newPeer(t, c, redis.ProviderConfig{Name: "shop"}, fmt.Sprint("start", i))
		m.self.Address = "again:7000"
		m.join()
		for _, one := range append(ms, m) {
			one.await("this start and no other", lists(append(idsOf(ms), m.self.ID)...))
		}
		cut()
	}
	r := record(t, raw(t, server.Addr), "shop")
	for _, d := range r.Departed {
		if d.Guard != 0 {
			t.Errorf("%+v: nobody would ever count this guard to its end", d)
		}
	}
	if len(r.Departed) != starts-1 {
		t.Errorf("%d departures, want %d", len(r.Departed), starts-1)
	}
	settle(ms...) // the last start goes when its lease has run out
}

// TestRedisProviderClustersApart: names that are the beginnings of others.
func TestRedisProviderClustersApart(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	shop, shop2 := trio(t, server.Addr, "shop"), trio(t, server.Addr, "shop2")
	if err := shop[0].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	settle(shop[1:]...)
	time.Sleep(shortTTL)
	settle(shop[1:]...)
	settle(shop2...)
}

// TestRedisProviderFull: where maxmemory is reached nothing can be written. Nobody goes, not even when there is room
// again; a join waits, and says why.
func TestRedisProviderFull(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	before := ms[0].last()
	admin := raw(t, server.Addr)
	do(t, admin, "CONFIG", "SET", "maxmemory", "1")
	var err error
	for range 6 { // on a busy machine an answer may come too late
		err = newPeer(t, open(t, redis.Config{Address: server.Addr, Timeout: 20 * time.Second}), redis.ProviderConfig{Name: "shop"}, "late").try(10 * time.Second)
		if errors.Is(err, core.ErrOverloaded) {
			break
		}
	}
	if !errors.Is(err, core.ErrOverloaded) || !strings.Contains(err.Error(), "raise it") || !strings.Contains(err.Error(), server.Addr) {
		t.Errorf("join: %v", err)
	}
	time.Sleep(2 * shortTTL)
	unchanged(t, before, ms...)
	do(t, admin, "CONFIG", "SET", "maxmemory", "0")
	renewing(t, admin, "shop", ms...)
	time.Sleep(shortTTL * 3 / 2)
	unchanged(t, before, ms...)
}

// TestRedisProviderReadOnly: the server becomes a replica, which refuses writes, and a master again.
func TestRedisProviderReadOnly(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	before := ms[0].last()
	admin := raw(t, server.Addr)
	do(t, admin, "REPLICAOF", "127.0.0.1", "1") // nobody listens there, so its data stay
	err := newPeer(t, open(t, redis.Config{Address: server.Addr}), redis.ProviderConfig{Name: "shop"}, "late").try(5 * time.Second)
	if !errors.Is(err, core.ErrUnreachable) || !strings.Contains(err.Error(), "connect to the master") {
		t.Errorf("join by a replica: %v", err)
	}
	time.Sleep(2 * shortTTL)
	unchanged(t, before, ms...)
	do(t, admin, "REPLICAOF", "NO", "ONE")
	renewing(t, admin, "shop", ms...)
	time.Sleep(shortTTL * 3 / 2)
	unchanged(t, before, ms...)
}

// TestRedisProviderByHand: what somebody with an editor does to the record.
func TestRedisProviderByHand(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	admin := raw(t, server.Addr)

	edited := record(t, admin, "shop")
	edited.Members[2].Weight = 9
	edited.Epoch, edited.Revision = edited.Epoch+1, edited.Revision+1
	put(t, admin, "shop", edited)
	for _, m := range ms {
		m.await("the edited weight", func(v *core.View) bool { r, _ := v.Member(ms[2].self.ID); return r.Weight == 9 })
	}

	do(t, admin, "HSET", "{granary:shop}:leases", string(ms[1].self.ID), "no number")
	do(t, admin, "HDEL", "{granary:shop}:leases", string(ms[0].self.ID))
	renewing(t, admin, "shop", ms...)

	good := record(t, admin, "shop")
	do(t, admin, "HSET", "{granary:shop}:view", "record", "{no record")
	err := newPeer(t, open(t, redis.Config{Address: server.Addr}), redis.ProviderConfig{Name: "shop"}, "late").try(10 * time.Second)
	if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "mend it, or remove it") {
		t.Errorf("join where the record cannot be read: %v", err)
	}
	time.Sleep(shortTTL * 3 / 2)
	settle(ms...)

	good.Members = good.Members[:2] // deletes the third
	good.Epoch, good.Revision = good.Epoch+1, good.Revision+1
	put(t, admin, "shop", good)
	settle(ms[:2]...)
	eventually(t, func() error {
		if err := ms[2].Update(t.Context(), ms[2].self); !errors.Is(err, core.ErrEvicted) {
			return fmt.Errorf("update by the deleted one: %v, want ErrEvicted", err)
		}
		return nil
	})
}

// TestRedisProviderFormats: a record of a later version is shown, and left as it is.
func TestRedisProviderFormats(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	admin := raw(t, server.Addr)
	later := record(t, admin, "shop")
	for _, format := range []uint16{2, 0} {
		later.Format, later.Revision, later.Extra = format, later.Revision+1, []byte(`{"zones":["a"]}`)
		put(t, admin, "shop", later)
		for _, m := range ms {
			m.await("the other format", func(v *core.View) bool { return v.Record().Format == format })
		}
		err := newPeer(t, open(t, redis.Config{Address: server.Addr}), redis.ProviderConfig{Name: "shop"}, "late").try(10 * time.Second)
		if !errors.Is(err, core.ErrUnsupported) || !strings.Contains(err.Error(), fmt.Sprint("format ", format)) {
			t.Errorf("join where the format is %d: %v", format, err)
		}
		if err := ms[0].Update(t.Context(), ms[0].self); !errors.Is(err, core.ErrUnsupported) {
			t.Errorf("update where the format is %d: %v", format, err)
		}
		if now := record(t, admin, "shop"); now.Format != format || string(now.Extra) != string(later.Extra) {
			t.Errorf("format %d became %d with %s", format, now.Format, now.Extra)
		}
	}
	do(t, admin, "DEL", "{granary:shop}:view")
	settle(ms...)
}

// TestRedisProviderDetects: how long a killed member of a cluster with the defaults stays, at most.
func TestRedisProviderDetects(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	var ms []*peer
	var cut func()
	for i := range 3 {
		c, end, err := redis.Open(redis.Config{Address: server.Addr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		m := newPeer(t, c, redis.ProviderConfig{Name: "shop", TTL: redis.DefaultTTL}, fmt.Sprint("m", i))
		m.join()
		ms, cut = append(ms, m), end
	}
	settle(ms...)
	renewing(t, raw(t, server.Addr), "shop", ms[2])
	cut()
	begin := time.Now()
	settle(ms[:2]...)
	took := time.Since(begin)
	t.Logf("a member that was cut off after a renewal was out after %v", took.Round(10*time.Millisecond))
	if took < redis.DefaultTTL || took > 20*time.Second { // 12.7 s; the rest is for a busy machine
		t.Errorf("it took %v", took)
	}
}
