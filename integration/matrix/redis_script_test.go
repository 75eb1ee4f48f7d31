package matrix

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/redis"
)

// without is an edit that takes a member out of the newest view of m.
func without(m *peer, id core.MemberID) (old *core.View, next core.ViewRecord) {
	old = m.last()
	next = old.Record()
	var rest []core.Member
	for _, row := range next.Members {
		if row.ID != id {
			rest = append(rest, row)
		}
	}
	next.Members = rest
	return old, next
}

// TestRedisRenewalIsConditional: the write that takes a row out ends the lease in the same step, and nothing makes it
// anew.
func TestRedisRenewalIsConditional(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	ms := trio(t, server.Addr, "shop")
	gone := ms[2]
	if err := gone.RenewLease(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		old, next := without(ms[0], gone.self.ID)
		_, err := ms[0].SwapView(t.Context(), old, next)
		return err
	})
	admin := raw(t, server.Addr)
	for range 3 {
		if err := gone.RenewLease(t.Context()); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("renewal by the evicted: %v, want ErrEvicted", err)
		}
		if n, held := renewals(t, admin, "shop")[string(gone.self.ID)]; held {
			t.Errorf("the lease of the evicted has %s renewals", n)
		}
	}
	settle(ms[:2]...)
}

// TestRedisNewsComeAtOnce: with a lease so long that no poll would show it in time.
func TestRedisNewsComeAtOnce(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	var ms []*peer
	for _, id := range []string{"one", "two"} {
		m := newPeer(t, open(t, redis.Config{Address: server.Addr}), redis.ProviderConfig{TTL: time.Hour}, id)
		m.join()
		ms = append(ms, m)
	}
	settle(ms...)
	for i := range uint16(5) {
		ms[0].self.Weight = 10 + i
		if err := ms[0].Update(t.Context(), ms[0].self); err != nil {
			t.Fatal(err)
		}
		ms[1].await("the new weight", func(v *core.View) bool { r, _ := v.Member("one"); return r.Weight == 10+i })
	}
}

// TestRedisWriteSentTwice: a client that sends a write again whose answer was lost is not told of a conflict with
// itself.
func TestRedisWriteSentTwice(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	way := newForgetful(t, server.Addr)
	client := goredis.NewClient(&goredis.Options{Addr: way.addr, DisableIdentity: true, MaxRetries: 3})
	t.Cleanup(func() { _ = client.Close() })
	m := newPeer(t, redis.Use(client), redis.ProviderConfig{TTL: time.Hour}, "m") // so that nothing else is asked meanwhile
	m.join()
	settle(m)
	for i := range 5 {
		old := m.last()
		next := old.Record()
		next.Suspicions = append(next.Suspicions, core.Suspicion{Suspect: "m", Voter: "m", Epoch: uint64(i + 1)})
		way.lose.Store(true)
		after, err := m.SwapView(t.Context(), old, next)
		if err == nil && way.lose.Load() {
			err = errors.New("no answer was lost")
		}
		if err == nil && after.Record().Revision != old.Record().Revision+1 {
			err = errors.New("it was stored more than once")
		}
		if err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
		m.await("the swap", func(v *core.View) bool { return v.Compare(after) == core.Same })
	}
}

// forgetful is a way to a server that loses the answer to the next write, and the connection with it.
type forgetful struct {
	addr string
	lose atomic.Bool
}

func newForgetful(t testing.TB, addr string) *forgetful {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f := &forgetful{addr: l.Addr().String()}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() {
				defer out.Close()
				_, _ = io.Copy(out, in) // either end may go at any time
			}()
			go f.answer(in, out)
		}
	}()
	return f
}

// answer passes on what comes from out, until it is a write's answer that is to be lost.
func (f *forgetful) answer(in, out net.Conn) {
	defer in.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := out.Read(buf)
		if err != nil || string(buf[:n]) == ":1\r\n" && f.lose.CompareAndSwap(true, false) {
			return
		}
		if _, err := in.Write(buf[:n]); err != nil {
			return
		}
	}
}
