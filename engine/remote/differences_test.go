package remote

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// The tests of this file are named in docs/differences.md: each shows that a known weakness of another
// system is none here.

// TestPeerThatNeverAnswersHoldsUpNobody dials a peer that accepts the connection and then says nothing:
// sends to it return at once, what waits for it fails within a bound and as not delivered, other peers
// are not held up, and the pauses between dials grow.
func TestPeerThatNeverAnswersHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := NewMemory(MemoryConfig{})
		on := func(host string) func(*Config) {
			return func(c *Config) { c.Transport, c.Address = network.Host(host), host+":0" }
		}
		a, b := startNode(t, "a", on("a")), startNode(t, "b", on("b"))
		b.echo("echo")
		l, err := network.Host("mute").Listen(t.Context(), "mute:0")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var dials []time.Time
		var open []net.Conn
		var accepting sync.WaitGroup
		accepting.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				mu.Lock()
				dials, open = append(dials, time.Now()), append(open, c)
				mu.Unlock()
			}
		})
		defer func() {
			_ = l.Close()
			accepting.Wait()
			for _, c := range open {
				_ = c.Close()
			}
		}()
		a.r.SetMembers(topology(t, nil, a.member(), b.member(), core.Member{ID: "mute", Address: l.Addr().String(), Status: core.Up, Protocol: Protocol()}))
		b.r.SetMembers(topology(t, nil, a.member(), b.member()))
		mute := a.sys.Ref(core.PID{Address: l.Addr().String(), ID: "x", Member: "mute"})
		began := time.Now()
		for range 100 {
			if err := mute.Tell(str("x")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("100 sends took %v", took)
		}
		waited := make(chan time.Duration, 1)
		go func() {
			_, err := a.ask(mute, str("x"), time.Hour)
			if !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("ask: %v (%v); want ErrUnreachable, undelivered", err, core.DeliveryOf(err))
			}
			waited <- time.Since(began)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.r.Connected(ctx, []core.MemberID{"b"}); err != nil {
			t.Fatal(err)
		}
		got, err := a.ask(a.at(b, "echo"), str("beside"), time.Second)
		wantText(t, got, err, "beside")
		if d := <-waited; d > 2*a.r.limits.Handshake {
			t.Errorf("what waited was told after %v; want %v at most", d, 2*a.r.limits.Handshake)
		}
		time.Sleep(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if n := len(dials); n < 3 || dials[n-1].Sub(dials[n-2])-dials[1].Sub(dials[0]) < 500*time.Millisecond {
			t.Errorf("%d dials in 10 minutes, at %v: the pauses do not grow", n, dials)
		}
	})
}

// TestLinksAreSmall has many peers that cannot be reached: each costs little.
func TestLinksAreSmall(t *testing.T) {
	const peers, each = 300, 48 << 10 // a dial under way costs more than the endpoint
	network := NewMemory(MemoryConfig{})
	a := startNode(t, "a", func(c *Config) { c.Transport, c.Address = network.Host("a"), "a:0" })
	members := []core.Member{a.member()}
	for i := range peers {
		members = append(members, core.Member{ID: core.MemberID(fmt.Sprint("p", i)), Address: fmt.Sprintf("p%d:1", i), Status: core.Up, Protocol: Protocol()})
	}
	top := topology(t, nil, members...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a.r.SetMembers(top)
	for _, m := range members[1:] {
		_ = a.sys.Ref(core.PID{Address: m.Address, ID: "x", Member: m.ID}).Tell(str("x")) // queued, or refused: nobody is there
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > peers*each {
		t.Errorf("%d peers cost %d bytes each; want %d at most", peers, grown/peers, each)
	}
}

// TestTypesAreRegisteredUnderTraffic adds message types while messages are read.
func TestTypesAreRegisteredUnderTraffic(t *testing.T) {
	_, a, b := pair(t, nil)
	b.echo("echo")
	to := a.at(b, "echo")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 100 {
				got, err := a.ask(to, str("x"), time.Minute)
				if s, ok := got.(*wrapperspb.StringValue); err != nil || !ok || s.GetValue() != "x" {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 100 {
			if err := b.r.cfg.Types.Register(&wrapperspb.BoolValue{}, &wrapperspb.DoubleValue{}); err != nil {
				t.Error(err)
			}
			b.r.AllowRaw("raw", "some.Type")
		}
	})
	wg.Wait()
}

// TestIPv6AddressesStayWhole: the brackets of an address survive everything that is done with it.
func TestIPv6AddressesStayWhole(t *testing.T) {
	for _, tt := range []struct{ advertise, bound, want string }{
		{"", "[::1]:5", "[::1]:5"},
		{"[fe80::1]:7", "[::]:5", "[fe80::1]:7"},
		{"[fe80::1]:0", "[::]:5", "[fe80::1]:5"},
	} {
		got, err := advertised(tt.advertise, tt.bound)
		if got != tt.want || err != nil {
			t.Errorf("advertise %q bound %q: %q, %v", tt.advertise, tt.bound, got, err)
		}
		if _, _, err := net.SplitHostPort(got); err != nil {
			t.Error(err)
		}
	}
	network := NewMemory(MemoryConfig{})
	a := startNode(t, "a", func(c *Config) { c.Transport, c.Address, c.Advertise = network.Host("a"), "a:0", "" })
	if _, err := actor.New(actor.Config{Member: "m", Address: "[::1]:5"}); err != nil {
		t.Error(err)
	}
	pid := core.PID{Address: "[::1]:5", ID: "x/y", Member: "m"}
	if got := a.sys.Ref(pid).PID(); got != pid {
		t.Errorf("PID %+v", got)
	}
}

// TestNoGlobalOfALibraryIsSet reads the sources of the engine: none replaces a logger, a registry or a
// default of the process.
func TestNoGlobalOfALibraryIsSet(t *testing.T) {
	bad := map[string]bool{
		"grpclog.SetLogger": true, "grpclog.SetLoggerV2": true, "slog.SetDefault": true, "log.SetOutput": true, "log.SetFlags": true,
		"encoding.RegisterCodec": true, "resolver.Register": true, "resolver.SetDefaultScheme": true, "balancer.Register": true,
		"http.Handle": true, "http.HandleFunc": true, "rand.Seed": true,
	}
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		ast.Inspect(parsed, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && bad[pkg.Name+"."+sel.Sel.Name] {
					t.Errorf("%s: %s.%s", path, pkg.Name, sel.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || files < 50 {
		t.Errorf("%d files read, %v", files, err)
	}
}
