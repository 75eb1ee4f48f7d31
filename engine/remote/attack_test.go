package remote

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/remotepb"
)

// TestSecondAnswersAreNotCounted: an actor that answers an ask twice, or answers and then panics, is
// heard once, and Drain still knows what is open.
func TestSecondAnswersAreNotCounted(t *testing.T) {
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	join(t, x, y)
	y.spawn("twice", func(c *actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			c.Respond(m)
			c.Respond(str("again"))
			panic("after the answer")
		}
	})
	for range 3 {
		got, err := x.ask(x.at(y, "twice"), str("once"), time.Minute)
		wantText(t, got, err, "once")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := y.r.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
	y.r.mu.Lock()
	defer y.r.mu.Unlock()
	for _, c := range y.r.conns() {
		if n := c.open.Load(); n != 0 {
			t.Errorf("%d asks are open", n)
		}
	}
}

// TestDrainAfterARefusedMessage: a message that could not be encoded leaves nothing to wait for.
func TestDrainAfterARefusedMessage(t *testing.T) {
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	join(t, x, y)
	for name, msg := range map[string]any{"no message of the wire": 1, "a type that is not UTF-8": core.Message{Type: "\xff"}} {
		if err := x.at(y, "sink").Tell(msg); err == nil || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := x.r.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
}

// TestDeadLetterOfTheHandler: an actor that passes on a dead letter of its own has run, and the asker
// must not hear that its ask was not delivered.
func TestDeadLetterOfTheHandler(t *testing.T) {
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	join(t, x, y)
	y.spawn("relay", func(c *actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			c.RespondError(c.Tell(y.sys.Ref(core.PID{Address: y.addr, ID: "nobody", Member: y.id}), 1))
		}
	})
	_, err := x.ask(x.at(y, "relay"), str("x"), time.Minute)
	if !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.Delivered {
		t.Errorf("ask = %v (%v); want stopped, delivered", err, core.DeliveryOf(err))
	}
	_, err = x.ask(x.at(y, "nobody"), str("x"), time.Minute)
	if !errors.Is(err, actor.ErrDeadLetter) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("ask of nobody = %v (%v); want a dead letter, undelivered", err, core.DeliveryOf(err))
	}
}

// TestStopDoesNotWaitForStrangers: connections that never say anything end with the member.
func TestStopDoesNotWaitForStrangers(t *testing.T) {
	ca := newAuthority(t)
	for name, edit := range map[string]func(*Config){"plaintext": nil, "TLS": ca.asMember} {
		t.Run(name, func(t *testing.T) {
			x := startNode(t, "x", func(c *Config) {
				c.Limits.Handshake = 2 * time.Minute // far beyond what the stop may take
				if edit != nil {
					edit(c)
				}
			})
			for range 3 {
				c, err := net.Dial("tcp", x.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			eventually(t, "they are accepted", func() bool {
				_, fresh := x.r.accepter.(*grpcListener).gate.Count()
				return fresh == 3
			})
			began := time.Now()
			if err := x.r.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("stopped after %v", took)
			}
		})
	}
}

// rawClient is a client made by hand, on a stream of its own.
func rawClient(t *testing.T, n *node, id core.MemberID, epoch uint64) *rawStream {
	t.Helper()
	s := openRaw(t, rawConn(t, n.addr, nil))
	r, err := s.hello(hello{member: id, client: true, cluster: "test", protocol: Protocol(), epoch: epoch, target: n.id})
	if err != nil || r.GetRefusal() != nil {
		t.Fatalf("handshake of client %s: %v, %v", id, r, err)
	}
	return s
}

// TestReferencesSurviveTheReconnectOfAClient: also when its new stream is here before the end of the old.
func TestReferencesSurviveTheReconnectOfAClient(t *testing.T) {
	n := startNode(t, "n", nil)
	to := n.sys.Ref(core.PID{Address: "client", ID: "me", Member: "c"})
	first := rawClient(t, n, "c", 1)
	eventually(t, "the first stream serves", func() bool { return to.Tell(str("one")) == nil })
	told := n.watcher("w", to)
	second := rawClient(t, n, "c", 2)
	first.end()
	eventually(t, "the second stream serves", func() bool { return to.Tell(str("two")) == nil })
	var types []string
	for len(types) < 2 { // the watch is told again
		b, err := second.recv()
		if err != nil {
			t.Fatal(err)
		}
		var m remotepb.RemoteMessage
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		types = append(types, m.GetMessageBatch().GetTypeNames()...)
	}
	slices.Sort(types)
	if want := []string{"actor.Watch", "google.protobuf.StringValue"}; !slices.Equal(types, want) {
		t.Errorf("the second stream brought %v, want %v", types, want)
	}
	if len(told) != 0 {
		t.Errorf("the watcher was told %+v", <-told)
	}
}

// TestMemberTakesItsIDBackFromAClient: a client that claims the ID of a member to come keeps nobody from
// reaching that member, nor that member from connecting.
func TestMemberTakesItsIDBackFromAClient(t *testing.T) {
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	thief := rawClient(t, x, "y", 1<<40)
	join(t, x, y)
	y.echo("echo")
	x.echo("echo")
	got, err := x.ask(x.at(y, "echo"), str("there"), time.Minute)
	wantText(t, got, err, "there")
	got, err = y.ask(y.at(x, "echo"), str("and back"), time.Minute)
	wantText(t, got, err, "and back")
	thief.end()
}

// awaited is a replier that waits for some of its asks only.
type awaited struct {
	replies
	ids map[uint64]bool
}

func (a *awaited) Awaits(id uint64) bool { return a.ids[id] }

// TestAbandonedAsksMakeRoom: asks whose askers have gone, and whose targets never answer, do not fill the
// connection until Limits.AskAge.
func TestAbandonedAsksMakeRoom(t *testing.T) {
	w := testWriter(t, func(l *Limits) { l.Asks = 3 })
	a := &awaited{ids: map[uint64]bool{2: true}}
	next := uint64(0)
	ask := func() error {
		next++
		return w.sendAsk(&outgoing{target: "t", msg: pieces{}}, a, next, true, 0)
	}
	for range 4 {
		if err := ask(); err != nil {
			t.Fatalf("ask %d beside one that is awaited: %v", next, err)
		}
	}
	if _, ok := w.asks[2]; !ok || len(w.asks) != 2 {
		t.Errorf("%d asks are kept; want the awaited one and the last", len(w.asks))
	}
	a.ids[4], a.ids[5] = true, true
	for range 3 {
		_ = ask()
	}
	if err := ask(); !errors.Is(err, core.ErrOverloaded) || len(w.asks) > 3 {
		t.Errorf("beyond the bound: %v with %d asks", err, len(w.asks))
	}
}
