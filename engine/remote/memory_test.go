package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wire dials from host a to a listener of host b.
func wire(t *testing.T, m *Memory, a, b string) (near, far net.Conn) {
	t.Helper()
	l, err := m.Host(b).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	near, err = m.Host(a).Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

func TestMemoryDelaysAndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Seed: 7})
		near, far := wire(t, m, "a", "b")
		began := time.Now()
		for i := range 20 {
			if _, err := near.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, 20)
		if _, err := io.ReadFull(far, got); err != nil {
			t.Fatal(err)
		}
		for i, b := range got {
			if int(b) != i {
				t.Fatalf("byte %d is %d", i, b)
			}
		}
		if took := time.Since(began); took < 10*time.Millisecond || took >= 15*time.Millisecond {
			t.Errorf("arrived after %v, want 10 to 15 ms", took)
		}
		m.Slow("a", "b", time.Second)
		began = time.Now()
		_, _ = near.Write([]byte("x"))
		_, _ = io.ReadFull(far, got[:1])
		if took := time.Since(began); took < time.Second {
			t.Errorf("slowed byte arrived after %v", took)
		}
	})
}

func TestMemoryCutIsOneWayAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		near, far := wire(t, m, "a", "b")
		m.Cut("a", "b")
		_, _ = near.Write([]byte("held"))
		_, _ = far.Write([]byte("through"))
		b := make([]byte, 16)
		if n, err := near.Read(b); err != nil || string(b[:n]) != "through" {
			t.Fatalf("other direction: %q, %v", b[:n], err)
		}
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := far.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read over a cut: %v, want a deadline", err)
		}
		_ = far.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { m.Heal("a", "b") })
		if n, err := far.Read(b); err != nil || string(b[:n]) != "held" {
			t.Fatalf("after healing: %q, %v", b[:n], err)
		}
	})
}

// TestMemoryStallHoldsOneConnection and not the next; the sender loses it, and the other end gets what was sent on it
// only when it is let go, and then the end.
func TestMemoryStallHoldsOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{Delay: time.Millisecond})
		near, far := wire(t, m, "a", "b")
		_, _ = near.Write([]byte("old"))
		held := m.Stall("a", "b")
		b := make([]byte, 16)
		_, _ = far.Write([]byte("back"))
		if n, err := near.Read(b); err != nil || string(b[:n]) != "back" {
			t.Errorf("the other direction: %q, %v", b[:n], err)
		}
		near2, far2 := wire(t, m, "a", "b")
		_, _ = near2.Write([]byte("new"))
		if n, err := far2.Read(b); err != nil || string(b[:n]) != "new" {
			t.Errorf("a later connection: %q, %v", b[:n], err)
		}
		held.Break()
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after the end at the sender: %v", err)
		}
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := far.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("what is held: %q, %v", b[:n], err)
		}
		_ = far.SetReadDeadline(time.Time{})
		began := time.Now()
		held.Release()
		if n, err := far.Read(b); err != nil || string(b[:n]) != "old" || time.Since(began) < time.Millisecond {
			t.Errorf("let go: %q, %v after %v", b[:n], err, time.Since(began))
		}
		if n, err := far.Read(b); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("then: %q, %v", b[:n], err)
		}
	})
}

func TestMemoryDialHangsOverACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		l, err := m.Host("b").Listen(t.Context(), "b:1")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		m.Cut(AnyHost, "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Host("a").Dial(ctx, "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial over a cut: %v", err)
		}
		time.AfterFunc(time.Second, func() { m.Heal(AnyHost, "b") })
		c, err := m.Host("a").Dial(t.Context(), "b:1")
		if err != nil {
			t.Fatalf("dial after healing: %v", err)
		}
		_ = c.Close()
	})
}

func TestMemoryResetKillRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		near, far := wire(t, m, "a", "b")
		m.Reset("b", "a")
		for _, c := range []net.Conn{near, far} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read after reset: %v", err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("write after reset: %v", err)
			}
		}
		near, far = wire(t, m, "a", "b")
		m.Kill("b")
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after kill: %v", err)
		}
		if _, err := m.Host("a").Dial(t.Context(), far.LocalAddr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial a killed host: %v", err)
		}
		if _, err := m.Host("b").Listen(t.Context(), "b:1"); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("listen on a killed host: %v", err)
		}
		m.Revive("b")
		wire(t, m, "a", "b")
	})
}

func TestMemoryBoundsAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{Buffer: 8})
		near, far := wire(t, m, "a", "b")
		_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := near.Write(bytes.Repeat([]byte("x"), 20))
		if n != 8 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write beyond the buffer: %d, %v", n, err)
		}
		_ = near.SetDeadline(time.Time{})
		if err := near.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(far)
		if len(got) != 8 || err != nil {
			t.Fatalf("after close: %d bytes, %v", len(got), err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed peer: %v", err)
		}
		l, err := m.Host("c").Listen(t.Context(), "c:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Host("c").Listen(t.Context(), "c:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener: %v", err)
		}
		_ = l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
	})
}

// A reset and a close are told over the network, after what was sent before and not over a cut; what is
// written meanwhile is lost.
func TestMemoryEndTravels(t *testing.T) {
	for name, end := range map[string]func(m *Memory, near net.Conn){
		"reset": func(m *Memory, _ net.Conn) { m.Reset("a", "b") },
		"kill":  func(m *Memory, _ net.Conn) { m.Kill("a") },
		"close": func(_ *Memory, near net.Conn) { _ = near.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(MemoryConfig{Delay: 10 * time.Millisecond})
				near, far := wire(t, m, "a", "b")
				m.Cut("a", "b")
				_, _ = near.Write([]byte("last"))
				end(m, near)
				if _, err := far.Write([]byte("lost")); err != nil {
					t.Errorf("write before the end was heard of: %v", err)
				}
				b := make([]byte, 16)
				_ = far.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := far.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read over a cut: %v", err)
				}
				_ = far.SetReadDeadline(time.Time{})
				m.Heal("a", "b")
				healed := time.Now()
				if n, err := far.Read(b); err != nil || string(b[:n]) != "last" || time.Since(healed) < 10*time.Millisecond {
					t.Errorf("%q, %v after %v", b[:n], err, time.Since(healed))
				}
				if _, err := far.Read(b); err == nil {
					t.Error("the end was not told")
				}
				if _, err := far.Write(b); err == nil {
					t.Error("a write after the end")
				}
			})
		})
	}
}

// What was sent at several instants and is held until one arrives at several.
func TestMemoryHealKeepsInstantsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{Delay: time.Millisecond})
		near, far := wire(t, m, "a", "b")
		m.Cut("a", "b")
		for range 3 {
			_, _ = near.Write([]byte("x"))
			_, _ = near.Write([]byte("y"))
			time.Sleep(time.Second)
		}
		m.Heal("a", "b")
		var at []time.Time
		for range 6 {
			if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Now())
		}
		for i := range 3 {
			if !at[2*i].Equal(at[2*i+1]) || i > 0 && !at[2*i].After(at[2*i-1]) {
				t.Errorf("arrived at %v", at)
			}
		}
	})
}
