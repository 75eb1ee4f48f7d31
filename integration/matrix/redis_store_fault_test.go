package matrix

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/providers/redis"
)

// TestMain lets more tests wait side by side than there are processors: nearly all their time they wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "10"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

// raw is a client of the tests' own, beside the one that is tested.
func raw(t testing.TB, addr string) *goredis.Client {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: addr, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func do(t testing.TB, c *goredis.Client, args ...any) {
	t.Helper()
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

func store(t testing.TB, cfg redis.Config) *redis.Store {
	t.Helper()
	s, err := redis.NewStore(redis.StoreConfig{}, open(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// oldRedis answers everything as a server of version 5 would answer INFO.
func oldRedis(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					info := "# Server\r\nredis_version:5.0.14\r\n"
					answer := fmt.Sprintf("$%d\r\n%s\r\n", len(info), info)
					switch text := strings.ToUpper(string(buf[:n])); {
					case strings.Contains(text, "HELLO"):
						answer = "-ERR unknown command\r\n"
					case strings.Contains(text, "EVAL"):
						answer = ":1\r\n"
					}
					_, _ = conn.Write(bytes.Repeat([]byte(answer), max(1, strings.Count(string(buf[:n]), "*"))))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestRedisRefuses: each error names the server and the way out, by the check and by the first write.
func TestRedisRefuses(t *testing.T) {
	t.Parallel()
	locked := startRedis(t, "--requirepass", "secret")
	ruled := startRedis(t)
	do(t, raw(t, ruled.Addr), "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@all", "-eval", "-evalsha")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, tt := range map[string]struct {
		cfg  redis.Config
		is   error
		says string
	}{
		"no password":            {redis.Config{Address: locked.Addr}, core.ErrInvalid, "Config.Password"},
		"wrong password":         {redis.Config{Address: locked.Addr, Password: "guess"}, core.ErrInvalid, "check Config.Username and Config.Password"},
		"unknown user":           {redis.Config{Address: locked.Addr, Username: "who", Password: "secret"}, core.ErrInvalid, "check Config.Username and Config.Password"},
		"a rule forbids scripts": {redis.Config{Address: ruled.Addr, Username: "reader", Password: "pw"}, core.ErrInvalid, "the user's ACL forbids it"},
		"TLS to a plain port":    {redis.Config{Address: ruled.Addr, TLS: &tls.Config{}, Timeout: time.Second}, core.ErrUnreachable, "without TLS on that port leave it out"},
		"nobody listens":         {redis.Config{Address: closed.Addr().String()}, core.ErrUnreachable, "connection refused"},
		"an old version":         {redis.Config{Address: oldRedis(t)}, core.ErrUnsupported, "Redis 6 or later"},
	} {
		t.Run(name, func(t *testing.T) {
			err := open(t, tt.cfg).Check(t.Context())
			if !errors.Is(err, tt.is) || !strings.Contains(fmt.Sprint(err), tt.says) || !strings.Contains(fmt.Sprint(err), tt.cfg.Address) {
				t.Errorf("check: %v, want %v, %q and %s", err, tt.is, tt.says, tt.cfg.Address)
			}
			if name == "an old version" {
				return
			}
			_, err = store(t, tt.cfg).Put(t.Context(), core.Key{Group: "g"}, nil, core.Any)
			if !errors.Is(err, tt.is) || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("put: %v, want %v and %q", err, tt.is, tt.says)
			}
		})
	}
	if err := open(t, redis.Config{Address: ruled.Addr}).Check(t.Context()); err != nil {
		t.Errorf("check of a server in order: %v", err)
	}
}

func TestRedisKeyOfAnotherType(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	s := store(t, redis.Config{Address: server.Addr})
	do(t, raw(t, server.Addr), "SET", "granary:store:g", "theirs")
	k := core.Key{Group: "g", Name: "n"}
	_, get := s.Get(t.Context(), k)
	_, put := s.Put(t.Context(), k, nil, core.Any)
	_, fence := s.Fence(t.Context(), "g", core.Token{})
	var list error
	for _, list = range s.List(t.Context(), "g") {
	}
	for what, err := range map[string]error{"get": get, "put": put, "delete": s.Delete(t.Context(), k, core.Any), "fence": fence, "list": list} {
		if !errors.Is(err, core.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "another prefix") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRedisDamagedRecord: an item that was edited by hand.
func TestRedisDamagedRecord(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	s := store(t, redis.Config{Address: server.Addr})
	for _, record := range []string{"", "short", "no hex digits!!!value"} {
		do(t, raw(t, server.Addr), "HSET", "granary:store:g", "in", record)
		if _, err := s.Get(t.Context(), core.Key{Group: "g", Name: "n"}); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("get of %q: %v", record, err)
		}
		for _, err := range s.List(t.Context(), "g") {
			if !errors.Is(err, core.ErrInvalid) {
				t.Errorf("list with %q: %v", record, err)
			}
		}
		if _, err := s.Put(t.Context(), core.Key{Group: "g", Name: "n"}, []byte("mended"), core.Any); err != nil {
			t.Errorf("put over %q: %v", record, err)
		}
	}
}

func TestRedisIsFull(t *testing.T) {
	t.Parallel()
	server := startRedis(t, "--maxmemory", "4mb")
	s := store(t, redis.Config{Address: server.Addr})
	key := func(i int) core.Key { return core.Key{Group: "g", Name: fmt.Sprint(i)} }
	n := 0
	var err error
	for ; n < 1000 && err == nil; n++ {
		_, err = s.Put(t.Context(), key(n), make([]byte, 100_000), core.Absent)
	}
	if !errors.Is(err, core.ErrOverloaded) || !strings.Contains(err.Error(), "maxmemory") {
		t.Fatalf("after %d items: %v", n, err)
	}
	for i := range n - 1 {
		if _, err := s.Get(t.Context(), key(i)); err != nil {
			t.Errorf("item %d of %d: %v", i, n, err)
		}
	}
	if err := s.Delete(t.Context(), key(0), core.Any); err != nil {
		t.Errorf("delete, which makes room: %v", err)
	}
}

func TestRedisReplicaIsRefused(t *testing.T) {
	t.Parallel()
	master, replica := startRedis(t), startRedis(t)
	host, port, _ := net.SplitHostPort(master.Addr)
	do(t, raw(t, replica.Addr), "REPLICAOF", host, port)
	s := store(t, redis.Config{Address: replica.Addr})
	_, err := s.Put(t.Context(), core.Key{Group: "g"}, nil, core.Any)
	if !errors.Is(err, core.ErrUnreachable) || !strings.Contains(err.Error(), "connect to the master") {
		t.Errorf("put: %v", err)
	}
}

// TestRedisForgetsScripts and connections: neither is seen.
func TestRedisForgetsScripts(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	s := store(t, redis.Config{Address: server.Addr})
	admin := raw(t, server.Addr)
	for i := range 20 {
		if _, err := s.Put(t.Context(), core.Key{Group: "g"}, fmt.Append(nil, i), core.Any); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		do(t, admin, "SCRIPT", "FLUSH")
	}
}

// TestRedisRestarts, by a crash: what was acknowledged is there, revisions and claims too.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	s := store(t, redis.Config{Address: server.Addr})
	k := core.Key{Group: "g", Name: "n"}
	if _, err := s.Fence(t.Context(), "g", core.Token{Epoch: 9}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Put(t.Context(), k, []byte("kept"), core.Absent)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), k); !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("get from a killed server: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		it, err := s.Get(ctx, k)
		if err == nil && (it.Revision != r || string(it.Value) != "kept") {
			t.Fatalf("%+v after the restart, want revision %d", it, r)
		}
		return err
	})
	if _, err := s.Fence(ctx, "g", core.Token{Epoch: 8}); !errors.Is(err, core.ErrFenced) {
		t.Errorf("an older claim after the restart: %v", err)
	}
}

// TestRedisHangs: a server that is stopped holds a caller as long as its context, or the client's time-out.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	s := store(t, redis.Config{Address: server.Addr, Timeout: 500 * time.Millisecond})
	k := core.Key{Group: "g"}
	if _, err := s.Put(t.Context(), k, nil, core.Any); err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, k); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("get under a context: %v", err)
	}
	if _, err := s.Get(t.Context(), k); !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("get: %v", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { _, err := s.Get(t.Context(), k); return err })
}

// TestRedisStoreExpires: a group goes a TTL after its last write, with its claims.
func TestRedisStoreExpires(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	s, err := redis.NewStore(redis.StoreConfig{TTL: 300 * time.Millisecond, Prefix: "short:"}, open(t, redis.Config{Address: server.Addr}))
	if err != nil {
		t.Fatal(err)
	}
	k := core.Key{Group: "g"}
	if _, err := s.Put(t.Context(), k, nil, core.Any); err != nil {
		t.Fatal(err)
	}
	left, err := raw(t, server.Addr).PTTL(t.Context(), "short:g").Result()
	if err != nil || left <= 0 || left > 300*time.Millisecond {
		t.Errorf("%v is left, %v", left, err)
	}
	eventually(t, func() error {
		if _, err := s.Get(t.Context(), k); !errors.Is(err, core.ErrNotFound) {
			return fmt.Errorf("it is still there: %v", err)
		}
		return nil
	})
	if _, err := redis.NewStore(redis.StoreConfig{TTL: time.Microsecond}, open(t, redis.Config{Address: server.Addr})); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a TTL of a microsecond: %v", err)
	}
}

// TestPrefixesKeepStoresApart.
func TestPrefixesKeepStoresApart(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	c := open(t, redis.Config{Address: server.Addr})
	one, err1 := redis.NewStore(redis.StoreConfig{Prefix: "one:"}, c)
	two, err2 := redis.NewStore(redis.StoreConfig{Prefix: "two:"}, c)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	k := core.Key{Group: "g", Name: "n"}
	if _, err := one.Put(t.Context(), k, nil, core.Any); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Get(t.Context(), k); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("get by the other prefix: %v", err)
	}
}

// eventually asks until check is nil, up to 30 s.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
