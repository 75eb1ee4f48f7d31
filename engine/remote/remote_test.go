package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connector"
)

// onHost puts a node on a host of a memory network.
func onHost(m *Memory, host string) func(*Config) {
	return func(c *Config) { c.Transport = m.Host(host) }
}

func TestAskBetweenMembers(t *testing.T) {
	for _, network := range []string{"tcp", "memory"} {
		t.Run(network, func(t *testing.T) {
			mem := NewMemory(MemoryConfig{})
			on := func(host string) func(*Config) {
				if network == "memory" {
					return onHost(mem, host)
				}
				return nil
			}
			a, b := startNode(t, "a", on("a")), startNode(t, "b", on("b"))
			join(t, a, b)
			b.echo("echo")
			a.echo("echo")
			got, err := a.ask(a.at(b, "echo"), str("x"), time.Minute)
			wantText(t, got, err, "x")
			got, err = b.ask(b.at(a, "echo"), str("y"), time.Minute)
			wantText(t, got, err, "y")
		})
	}
}

// pair is two members on a memory network, linked.
func pair(t *testing.T, edit func(*Config)) (m *Memory, a, b *node) {
	m = NewMemory(MemoryConfig{})
	both := func(host string) func(*Config) {
		return func(c *Config) {
			c.Transport = m.Host(host)
			if edit != nil {
				edit(c)
			}
		}
	}
	a, b = startNode(t, "a", both("a")), startNode(t, "b", both("b"))
	join(t, a, b)
	return m, a, b
}

func TestOrderOfOneSender(t *testing.T) {
	_, a, b := pair(t, nil)
	const n = 20_000
	var next, wrong atomic.Int64
	_, err := b.sys.SpawnNamed("sink", &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor {
		return actor.Func(func(c *actor.Context) {
			if m, ok := c.Message().(*wrapperspb.Int64Value); ok && m.GetValue() != next.Add(1) {
				wrong.Add(1)
			}
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	to := a.at(b, "sink")
	for i := range n {
		for to.Tell(wrapperspb.Int64(int64(i+1))) != nil {
			time.Sleep(time.Millisecond) // refused: the queue is full
		}
	}
	eventually(t, "all arrived", func() bool { return next.Load() == n })
	if wrong.Load() > 0 {
		t.Errorf("%d messages out of order", wrong.Load())
	}
}

func TestManyAsksAtOnce(t *testing.T) {
	_, a, b := pair(t, nil)
	b.echo("echo")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for j := range 50 {
				text := fmt.Sprint(i, "/", j)
				got, err := a.ask(a.at(b, "echo"), str(text), time.Minute)
				if s, ok := got.(*wrapperspb.StringValue); err != nil || !ok || s.GetValue() != text {
					t.Errorf("answer to %q: %v, %v", text, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSenderAndHeadersCross(t *testing.T) {
	_, a, b := pair(t, nil)
	b.spawn("greeter", func(c *actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok && c.Sender() != nil {
			_ = c.Sender().Tell(str(m.GetValue() + " " + c.Header()["who"]))
		}
	})
	got := make(chan string, 1)
	me := a.spawn("me", func(c *actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			got <- m.GetValue()
		}
	})
	err := a.at(b, "greeter").Send(actor.Envelope{Message: str("hello"), Sender: me, Header: actor.Header{"who": "you"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello you" {
		t.Errorf("got %q", s)
	}
}

// TestForwardedAsk: the answer of an ask that was forwarded to a third member returns by the second.
func TestForwardedAsk(t *testing.T) {
	m := NewMemory(MemoryConfig{})
	a, b, c := startNode(t, "a", onHost(m, "a")), startNode(t, "b", onHost(m, "b")), startNode(t, "c", onHost(m, "c"))
	join(t, a, b, c)
	c.echo("echo")
	b.spawn("relay", func(x *actor.Context) {
		if _, ok := x.Message().(*wrapperspb.StringValue); ok {
			x.Forward(b.at(c, "echo"))
		}
	})
	got, err := a.ask(a.at(b, "relay"), str("far"), time.Minute)
	wantText(t, got, err, "far")
}

// TestErrorsOfAnswers: every outcome of an ask is an error of its kind, with its delivery.
func TestErrorsOfAnswers(t *testing.T) {
	_, a, b := pair(t, func(c *Config) { c.Limits.Envelope = 1000 })
	b.spawn("panics", func(c *actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			panic("boom")
		}
	})
	b.spawn("odd", func(c *actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			switch m.GetValue() {
			case "go value":
				c.Respond(7)
			case "large":
				c.Respond(wrapperspb.Bytes(make([]byte, 2000)))
			case "nil":
				c.Respond(nil)
			}
		}
	})
	block, busy := make(chan struct{}), make(chan struct{}, 10)
	full, err := b.sys.SpawnNamed("full", &actor.Props{Mailbox: actor.MailboxConfig{Size: 1}, New: func() actor.Actor {
		return actor.Func(func(c *actor.Context) {
			if _, ok := c.Message().(*wrapperspb.StringValue); ok {
				busy <- struct{}{}
				<-block
			}
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer close(block)
	if err := full.Tell(str("first")); err != nil {
		t.Fatal(err)
	}
	<-busy // nothing leaves the mailbox any more
	eventually(t, "the mailbox is full", func() bool { return errors.Is(full.Tell(str("fill")), core.ErrOverloaded) })

	tests := map[string]struct {
		target string
		msg    any
		is     error
		fate   core.Delivery
	}{
		"no such process":     {"nobody", str("x"), actor.ErrDeadLetter, core.Undelivered},
		"mailbox full":        {"full", str("x"), core.ErrOverloaded, core.Undelivered},
		"panic":               {"panics", str("x"), nil, core.Delivered},
		"answer of a Go type": {"odd", str("go value"), core.ErrUnsupported, core.Delivered},
		"answer too large":    {"odd", str("large"), core.ErrInvalid, core.Delivered},
		"question too large":  {"odd", wrapperspb.Bytes(make([]byte, 2000)), core.ErrInvalid, core.Undelivered},
		"question of Go type": {"odd", 7, core.ErrUnsupported, core.Undelivered},
		"type not registered": {"odd", wrapperspb.Bool(true), core.ErrUnsupported, core.Undelivered},
		"not UTF-8":           {"odd", str("\xff"), nil, core.Undelivered},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := a.ask(a.at(b, tt.target), tt.msg, time.Minute)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || core.DeliveryOf(err) != tt.fate {
				t.Errorf("error %v, %v; want %v, %v", err, core.DeliveryOf(err), tt.is, tt.fate)
			}
			if errors.Is(err, core.ErrOverloaded) {
				if after, ok := core.RetryAfter(err); !ok || after <= 0 {
					t.Errorf("no time to try again in %v", err)
				}
			}
		})
	}
	if got, err := a.ask(a.at(b, "odd"), str("nil"), time.Minute); got != nil || err != nil {
		t.Errorf("nil answer: %v, %v", got, err)
	}
	if got, err := a.ask(a.at(b, "panics"), str("x"), time.Minute); err == nil || strings.Contains(err.Error(), "goroutine ") {
		t.Errorf("a panic's stack crossed the wire: %v, %v", got, err)
	}
}

func TestUnknownMember(t *testing.T) {
	_, a, _ := pair(t, nil)
	to := a.sys.Ref(core.PID{Address: "127.0.0.1:9", ID: "x", Member: "stranger"})
	if err := to.Tell(str("x")); !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("send to an unknown member: %v, %v", err, core.DeliveryOf(err))
	}
}

// TestResetFailsAsksAtOnce: calls outstanding on a link that is reset fail within 10 ms as unknown, the
// endpoint dials again by itself, and the next epoch is another one.
func TestResetFailsAsksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, nil)
		arrived := make(chan uint64, 200)
		b.spawn("silent", func(c *actor.Context) {
			if in, ok := c.Message().(*wrapperspb.StringValue); ok && in.GetValue() != "" {
				arrived <- 1
			}
		})
		b.echo("echo")
		time.Sleep(2 * connector.Lasting) // so that the link counts as lasting
		failed := make(chan error, 100)
		for range 100 {
			go func() {
				_, err := a.ask(a.at(b, "silent"), str("x"), time.Hour)
				failed <- err
			}()
		}
		for range 100 {
			<-arrived
		}
		began := time.Now()
		m.Reset("a", "b")
		for range 100 {
			err := <-failed
			if !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.DeliveryUnknown {
				t.Fatalf("error %v, %v; want unreachable, unknown", err, core.DeliveryOf(err))
			}
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("the last ask failed after %v, want 10 ms at most", took)
		}
		if err := a.r.Connected(t.Context(), []core.MemberID{"b"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a new link after %v", took)
		}
		got, err := a.ask(a.at(b, "echo"), str("again"), time.Second)
		wantText(t, got, err, "again")
		b.r.mu.Lock()
		epoch := b.r.epochs["a"]
		b.r.mu.Unlock()
		if epoch < 2 {
			t.Errorf("epoch %d after a reset", epoch)
		}
	})
}

// TestNotConnected: while a peer cannot be dialled, asks fail at once and tells become dead letters.
func TestNotConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		a := startNode(t, "a", onHost(m, "a"))
		var dead atomic.Int64
		actor.SubscribeOf(a.sys.Events(), func(d actor.DeadLetter) {
			if d.Target.Member == "b" {
				dead.Add(1)
			}
		})
		ghost := core.Member{ID: "b", Address: "127.0.0.1:7", Status: core.Up}
		m.Cut(AnyHost, "b") // so that the dial hangs where there is a listener
		l, err := m.Host("b").Listen(t.Context(), ghost.Address)
		if err != nil {
			t.Fatal(err)
		}
		a.r.SetMembers(topology(t, nil, a.member(), ghost))
		synctest.Wait()
		to := a.sys.Ref(core.PID{Address: ghost.Address, ID: "x", Member: "b"})
		if err := to.Tell(str("queued while the dial is under way")); err != nil {
			t.Fatalf("tell: %v", err)
		}
		began := time.Now()
		_, err = a.ask(to, str("x"), time.Hour)
		if !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("ask: %v, %v; want unreachable, undelivered", err, core.DeliveryOf(err))
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("a dial that hangs was given up after %v", took)
		}
		_ = l.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if dead.Load() != 1 {
			t.Errorf("%d dead letters, want 1", dead.Load())
		}
		eventuallyRefused := func() error {
			for range 1000 {
				if err := to.Tell(str("x")); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return nil
		}
		if err := eventuallyRefused(); !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("tell between two dials: %v", err)
		}
		m.Heal(AnyHost, "b")
	})
}

// TestBackPressure: a peer that does not read makes the queue refuse, visibly, and nothing that was
// taken is lost when it reads again.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, func(c *Config) {
			c.Limits.QueueMessages, c.Limits.Keepalive, c.Limits.KeepaliveTimeout = 1000, time.Hour, time.Hour
		})
		var got atomic.Int64
		_, err := b.sys.SpawnNamed("sink", &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
					got.Add(1)
				}
			})
		}})
		if err != nil {
			t.Fatal(err)
		}
		m.Cut("a", "b")
		to := a.at(b, "sink")
		sent := int64(0)
		for range 10_000 {
			err := to.Tell(wrapperspb.Bytes(make([]byte, 1024)))
			if err != nil {
				if after, ok := core.RetryAfter(err); !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered || !ok || after <= 0 {
					t.Fatalf("refused with %v, %v", err, core.DeliveryOf(err))
				}
				break
			}
			sent++
			synctest.Wait()
		}
		if sent < 1000 || sent == 10_000 {
			t.Fatalf("%d messages were taken", sent)
		}
		m.Heal("a", "b")
		synctest.Wait()
		time.Sleep(time.Second)
		if got.Load() != sent {
			t.Errorf("%d of %d messages arrived", got.Load(), sent)
		}
	})
}

// TestBlockedPeer: what a blocked member sends reaches no mailbox, and it cannot come back.
func TestBlockedPeer(t *testing.T) {
	_, a, b := pair(t, nil)
	var got atomic.Int64
	b.spawn("sink", func(c *actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			got.Add(1)
			c.Respond(str("ok"))
		}
	})
	if _, err := a.ask(a.at(b, "sink"), str("x"), time.Minute); err != nil {
		t.Fatal(err)
	}
	b.r.Block("a")
	before := got.Load()
	for range 20 {
		if _, err := a.ask(a.at(b, "sink"), str("x"), 100*time.Millisecond); err == nil {
			t.Fatal("a blocked member was answered")
		}
	}
	eventually(t, "the refusal is known", func() bool {
		err := a.at(b, "sink").Tell(str("x"))
		refused, ok := errors.AsType[*RefusedError](err)
		return ok && refused.Reason == RefusedBlocked
	})
	if got.Load() != before {
		t.Errorf("%d messages of a blocked member arrived", got.Load()-before)
	}
	if err := b.at(a, "x").Tell(str("x")); !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("send to a blocked member: %v", err)
	}
}

// TestForeignCluster and a start that is gone: both are refused, and tell why.
func TestForeignPeers(t *testing.T) {
	tests := map[string]struct {
		edit   func(*Config)      // of the one who dials
		row    func(*core.Member) // of the one who is dialled, as the dialler sees it
		reason Refusal
	}{
		"another cluster":             {edit: func(c *Config) { c.Cluster = "other" }, reason: RefusedCluster},
		"another start at an address": {row: func(m *core.Member) { m.ID = "b-before" }, reason: RefusedMember},
		"not in the view":             {reason: RefusedIdentity},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(MemoryConfig{})
				a := startNode(t, "a", func(c *Config) {
					c.Transport = m.Host("a")
					if tt.edit != nil {
						tt.edit(c)
					}
				})
				b := startNode(t, "b", onHost(m, "b"))
				var got atomic.Int64
				b.spawn("sink", func(c *actor.Context) {
					if _, ok := c.Message().(*wrapperspb.StringValue); ok {
						got.Add(1)
					}
				})
				row := b.member()
				if tt.row != nil {
					tt.row(&row)
				}
				a.r.SetMembers(topology(t, nil, a.member(), row))
				b.r.SetMembers(topology(t, nil, b.member()))
				to := a.sys.Ref(core.PID{Address: row.Address, ID: "sink", Member: row.ID})
				for range 20 {
					_ = to.Tell(str("x"))
					time.Sleep(500 * time.Millisecond)
				}
				var refused *RefusedError
				for range 20_000 {
					var ok bool
					if refused, ok = errors.AsType[*RefusedError](to.Tell(str("x"))); ok {
						break
					}
					time.Sleep(time.Millisecond)
				}
				if refused == nil || refused.Reason != tt.reason {
					t.Errorf("refused by %v, want %v", refused, tt.reason)
				}
				if got.Load() != 0 {
					t.Errorf("%d messages arrived", got.Load())
				}
			})
		})
	}
}

// TestHandshakeWaitsForTheView: a member that is not in the view yet is let in when it is.
func TestHandshakeWaitsForTheView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		a, b := startNode(t, "a", onHost(m, "a")), startNode(t, "b", onHost(m, "b"))
		b.echo("echo")
		top := topology(t, nil, a.member(), b.member())
		a.r.SetMembers(top)
		time.AfterFunc(4*time.Second, func() { b.r.SetMembers(top) })
		began := time.Now()
		got, err := a.ask(a.at(b, "echo"), str("early"), time.Minute)
		wantText(t, got, err, "early")
		if took := time.Since(began); took < 4*time.Second || took > 4*time.Second+100*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
	})
}

// TestLeave: what is outstanding on a leaver's link fails, and it cannot be reached again.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		b.spawn("silent", func(*actor.Context) {})
		failed := make(chan error, 1)
		to := a.at(b, "silent")
		go func() {
			_, err := a.ask(to, str("x"), time.Hour)
			failed <- err
		}()
		synctest.Wait()
		before, err := core.NewView(core.ViewRecord{Members: []core.Member{a.member(), b.member()}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		a.r.SetMembers(topology(t, before, a.member()))
		if err := <-failed; !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.DeliveryUnknown {
			t.Errorf("outstanding ask: %v, %v", err, core.DeliveryOf(err))
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("after %v", took)
		}
		for name, ref := range map[string]*actor.Ref{"old reference": to, "new reference": a.at(b, "silent")} {
			if err := ref.Tell(str("x")); !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("%s: %v, %v", name, err, core.DeliveryOf(err))
			}
		}
		time.Sleep(time.Minute)
		if n := len(a.r.incoming); n != 0 {
			t.Errorf("%d connections of a leaver are open", n)
		}
	})
}

// TestComeBack: a member that was taken for a leaver is reached again, also by references of before.
func TestComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		b.echo("echo")
		to := a.at(b, "echo")
		for range 3 {
			got, err := a.ask(to, str("x"), time.Minute)
			wantText(t, got, err, "x")
			a.r.SetMembers(topology(t, nil, a.member()))
			time.Sleep(10 * time.Second)
			if err := to.Tell(str("x")); !errors.Is(err, core.ErrUnreachable) {
				t.Fatalf("send to a leaver: %v", err)
			}
			join(t, a, b)
		}
		told := a.watcher("w", to)
		synctest.Wait()
		if err := b.at(b, "echo").Stop(); err != nil {
			t.Fatal(err)
		}
		if got := <-told; got.Why != actor.TerminatedStopped {
			t.Errorf("told %+v", got)
		}
	})
}

// TestKilledMember: calls to a member that is killed fail at once, and a new start at its address is
// another member.
func TestKilledMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, nil)
		b.spawn("silent", func(*actor.Context) {})
		failed := make(chan error, 1)
		go func() {
			_, err := a.ask(a.at(b, "silent"), str("x"), time.Hour)
			failed <- err
		}()
		synctest.Wait()
		began := time.Now()
		m.Kill("b")
		if err := <-failed; !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.DeliveryUnknown {
			t.Errorf("outstanding ask: %v, %v", err, core.DeliveryOf(err))
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("after %v", took)
		}
		m.Revive("b")
		next := startNode(t, "b2", func(c *Config) { c.Transport, c.Address = m.Host("b"), b.addr })
		next.echo("echo")
		join(t, a, next)
		got, err := a.ask(a.at(next, "echo"), str("new"), time.Minute)
		wantText(t, got, err, "new")
		if err := a.at(b, "echo").Tell(str("old")); !errors.Is(err, core.ErrUnreachable) {
			t.Errorf("send to the start that was killed: %v", err)
		}
	})
}

// odd is an ErrorCodec of a test.
type odd struct{}

func (odd) EncodeError(err error) proto.Message { return str("odd " + err.Error()) }
func (odd) DecodeError(typ string, data []byte) (error, bool) {
	var m wrapperspb.StringValue
	if typ != "google.protobuf.StringValue" || proto.Unmarshal(data, &m) != nil || !strings.HasPrefix(m.GetValue(), "odd ") {
		return nil, false
	}
	return core.WithDelivery(fmt.Errorf("%s: %w", m.GetValue(), core.ErrBusy), core.Undelivered), true
}

// TestErrorCodecAndHooks: the configuration's codec translates errors, and its hooks count.
func TestErrorCodecAndHooks(t *testing.T) {
	var refused atomic.Int64
	hooks := &core.Hooks{Counted: func(name string, n int64) {
		if name == "remote.refused" {
			refused.Add(n)
		}
	}}
	_, a, b := pair(t, func(c *Config) { c.Errors, c.Env.Hooks = odd{}, hooks })
	_, err := a.ask(a.at(b, "nobody"), str("x"), time.Minute)
	if !errors.Is(err, core.ErrBusy) || !strings.HasPrefix(err.Error(), "odd ") {
		t.Errorf("error %v", err)
	}
	if refused.Load() != 1 {
		t.Errorf("%d refusals were counted", refused.Load())
	}
}

// TestSilentPeerIsFound: without a reset, keepalive ends the link in 13 s.
func TestSilentPeerIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, nil)
		b.echo("echo")
		m.Cut("a", "b")
		m.Cut("b", "a")
		began := time.Now()
		_, err := a.ask(a.at(b, "echo"), str("x"), time.Hour)
		if !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.DeliveryUnknown {
			t.Errorf("ask over a silent link: %v, %v", err, core.DeliveryOf(err))
		}
		if took := time.Since(began); took > 14*time.Second {
			t.Errorf("found after %v", took)
		}
		m.Heal("a", "b")
		m.Heal("b", "a")
		if err := a.r.Connected(t.Context(), []core.MemberID{"b"}); err != nil {
			t.Fatal(err)
		}
		got, err := a.ask(a.at(b, "echo"), str("healed"), time.Minute)
		wantText(t, got, err, "healed")
	})
}

// TestNoGoawayInADay: our own server accepts our own keepalive, and an idle link stays.
func TestNoGoawayInADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		b.echo("echo")
		first := a.r.endpoints["b"].cur.Load()
		time.Sleep(24 * time.Hour)
		if now := a.r.endpoints["b"].cur.Load(); now != first {
			t.Fatalf("the link was replaced; log: %s", a.log.text())
		}
		got, err := a.ask(a.at(b, "echo"), str("x"), time.Second)
		wantText(t, got, err, "x")
	})
}

// TestAskAge: an ask whose target never answers is given up some day, and leaves nothing behind; not while its
// asker is known to wait and the link lives.
func TestAskAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, func(c *Config) { c.Limits.AskAge = time.Minute })
		b.spawn("silent", func(*actor.Context) {})
		began := time.Now()
		got := &answers{c: make(chan error, 1)}
		if err := a.at(b, "silent").Send(actor.Envelope{Message: str("x"), Reply: got, ReplyID: 1}); err != nil {
			t.Fatal(err)
		}
		err := <-got.c
		if !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.DeliveryUnknown {
			t.Errorf("error %v, %v", err, core.DeliveryOf(err))
		}
		if took := time.Since(began); took < time.Minute || took > 80*time.Second {
			t.Errorf("given up after %v", took)
		}
		b.spawn("slow", func(c *actor.Context) {
			if _, ok := c.Message().(*wrapperspb.StringValue); ok {
				time.Sleep(10 * time.Minute)
				c.Respond(str("at last"))
			}
		})
		v, err := a.sys.Ask(t.Context(), a.at(b, "slow"), str("x"))
		wantText(t, v, err, "at last")
		if _, err = a.ask(a.at(b, "silent"), str("x"), time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		time.Sleep(2 * time.Minute)
		if n := len(a.r.endpoints["b"].cur.Load().w.asks); n != 0 {
			t.Errorf("%d asks are remembered", n)
		}
	})
}

// answers is a replier of which nobody knows whether it waits.
type answers struct{ c chan error }

func (a *answers) Reply(_ uint64, _ any, err error) { a.c <- err }

func TestConnectedEndsWithItsContext(t *testing.T) {
	a := startNode(t, "a", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := a.r.Connected(ctx, []core.MemberID{"a", "nobody"}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("error %v", err)
	}
}
