package remote

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/granarypb"
	"github.com/granary-go/granary/protos/remotepb"
)

// letters collects the dead letters of a node.
type letters struct {
	mu  sync.Mutex
	all []actor.DeadLetter
}

func (n *node) letters() *letters {
	l := &letters{}
	actor.SubscribeOf(n.sys.Events(), func(d actor.DeadLetter) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, d)
	})
	return l
}

func (l *letters) take() []actor.DeadLetter {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.all
	l.all = nil
	return out
}

// sum is the number of messages that dead letters of this delivery stand for.
func sum(ds []actor.DeadLetter, d core.Delivery) (n int) {
	for _, one := range ds {
		if core.DeliveryOf(one.Err) == d {
			n += one.Count
		}
	}
	return n
}

const stringType = "google.protobuf.StringValue"

// TestRefusedTellsComeBack: whatever refuses a message of which no answer is awaited, its sender's system
// has a dead letter with the target, the type and the reason.
func TestRefusedTellsComeBack(t *testing.T) {
	for _, row := range []struct {
		name, target string
		is           error
		send         func(a *node, to *actor.Ref)
		times        int
	}{
		{name: "no process", target: "nobody", is: core.ErrStopped},
		{name: "refused by Authorize", target: "secret", is: ErrDenied},
		{name: "type not known there", target: "echo", is: core.ErrUnsupported, send: func(_ *node, to *actor.Ref) {
			_ = to.Tell(&wrapperspb.BoolValue{Value: true})
		}},
		{name: "mailbox full", target: "busy", is: core.ErrOverloaded, times: 4},
		{name: "does not decode", target: "echo", is: core.ErrInvalid, send: func(_ *node, to *actor.Ref) {
			_ = to.Tell(core.Message{Type: stringType, Data: []byte{0xff}})
		}},
		{name: "dropped for newer ones", target: "newest", is: core.ErrOverloaded, times: 4},
		{name: "its actor stops first", target: "ends", is: core.ErrStopped, times: 3},
		{name: "process ID with a control character", target: "a\nb", is: core.ErrInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, a, b := pair(t, func(c *Config) {
					c.Authorize = func(_ Peer, target, _ string) error {
						if target == "secret" {
							return fmt.Errorf("no: %w", ErrDenied)
						}
						return nil
					}
				})
				b.echo("echo")
				b.echo("secret")
				hold := make(chan bool)
				held := func(name string, box actor.MailboxConfig) *actor.Ref {
					ref, err := b.sys.SpawnNamed(name, &actor.Props{Mailbox: box, New: func() actor.Actor {
						return actor.Func(func(c *actor.Context) {
							if _, ok := c.Message().(*wrapperspb.StringValue); ok {
								<-hold
							}
						})
					}})
					if err != nil {
						t.Fatal(err)
					}
					return ref
				}
				held("busy", actor.MailboxConfig{Size: 2})
				held("newest", actor.MailboxConfig{Kind: actor.DropOldest, Size: 2})
				ends := held("ends", actor.MailboxConfig{})
				got := a.letters()
				to := a.at(b, row.target)
				send := row.send
				if send == nil {
					send = func(_ *node, to *actor.Ref) { _ = to.Tell(str("x")) }
				}
				for range max(row.times, 1) {
					send(a, to)
					synctest.Wait()
				}
				if row.target == "ends" {
					_ = ends.Stop()
				}
				synctest.Wait()
				close(hold)
				time.Sleep(2 * receiptPause)
				synctest.Wait()
				all := got.take()
				want := map[int]int{0: 1, 4: 1, 3: 2}[row.times]
				if sum(all, core.Undelivered) != want || len(all) == 0 {
					t.Fatalf("dead letters %+v, want %d messages", all, want)
				}
				d := all[0]
				if d.Target != to.PID() || d.Message != nil || !strings.HasPrefix(d.Type, "google.protobuf.") || !errors.Is(d.Err, sentinelOf(row.is)) {
					t.Errorf("dead letter %+v (%v), want %v", d, d.Err, row.is)
				}
				if h := a.r.endpoints["b"].cur.Load().w.tells; h.open() != 0 || h.refused != uint64(want) {
					t.Errorf("%d without a receipt, %d refused", h.open(), h.refused)
				}
			})
		})
	}
}

// sentinelOf is what errors.Is finds after the wire.
func sentinelOf(err error) error {
	if errors.Is(err, core.ErrUnsupported) {
		return core.ErrUnsupported
	}
	return err
}

// TestRefusedAsksAreNoDeadLetters: who asks is answered, and hears it once.
func TestRefusedAsksAreNoDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		got := a.letters()
		if _, err := a.ask(a.at(b, "nobody"), str("x"), time.Second); !errors.Is(err, actor.ErrDeadLetter) {
			t.Errorf("ask: %v", err)
		}
		time.Sleep(time.Second)
		if all := got.take(); len(all) != 0 {
			t.Errorf("dead letters %+v", all)
		}
	})
}

// TestReceiptsAreBounded: a flood of refused messages is told of in sum, exactly, and in few frames.
func TestReceiptsAreBounded(t *testing.T) {
	for _, row := range []struct {
		name    string
		targets int
		events  int // at most
	}{{"one target", 1, 20}, {"many targets", 20_000, 20 * (maxRefused + 1)}} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, a, b := pair(t, nil)
				var all []actor.DeadLetter
				got := a.letters()
				const n = 20_000
				for i := range n {
					if err := a.at(b, fmt.Sprint("nobody", i%row.targets)).Tell(str("x")); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				all = got.take()
				if sum(all, core.Undelivered) != n || len(all) > row.events {
					t.Errorf("%d messages in %d dead letters, want %d in at most %d", sum(all, core.Undelivered), len(all), n, row.events)
				}
				if row.targets > maxRefused && !slices.ContainsFunc(all, func(d actor.DeadLetter) bool { return d.Type == "" && d.Count > 1 }) {
					t.Error("none stands for those beyond the bound")
				}
				silence(t, a, "b")
				silence(t, b, "a")
			})
		})
	}
}

// silence checks that nothing is sent on: receipts have no receipts.
func silence(t *testing.T, n *node, of core.MemberID) {
	t.Helper()
	time.Sleep(time.Minute)
	if ago, ok := n.r.LastHeard(of); !ok || ago < time.Minute {
		t.Errorf("%s heard a frame of %s %v ago, want silence", n.id, of, ago)
	}
}

// TestRefusedTellOfAClient: a client hears of what was refused as well.
func TestRefusedTellOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		a := startNode(t, "a", onHost(m, "a"))
		a.echo("echo")
		c := startNode(t, "c", func(cfg *Config) { cfg.Transport, cfg.Client = m.Host("c"), true })
		join(t, a, c)
		got := c.letters()
		if err := c.at(a, "echo").Tell(str("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if all := got.take(); len(all) != 1 || sum(all, core.Undelivered) != 1 || !errors.Is(all[0].Err, core.ErrUnsupported) {
			t.Errorf("dead letters %+v", all)
		}
	})
}

// TestLostTells: what a link took and no receipt covers at its end is a dead letter of unknown fate, by
// name; what a receipt covers is none.
func TestLostTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, nil)
		b.echo("echo")
		got := a.letters()
		to := a.at(b, "echo")
		for range 10 {
			_ = to.Tell(str("handled"))
		}
		time.Sleep(time.Second)
		m.Cut("a", "b")
		for range 3 {
			_ = to.Tell(str("lost"))
		}
		_ = a.at(b, "other").Tell(str("lost"))
		_ = a.at(b, "other").Stop()
		synctest.Wait()
		m.Reset("a", "b")
		m.Heal("a", "b")
		time.Sleep(time.Minute)
		all := got.take()
		want := map[string]int{"echo " + stringType: 3, "other " + stringType: 1, "other actor.Stop": 1}
		for _, d := range all {
			if n := want[d.Target.ID+" "+d.Type]; n == 0 || d.Count != n || !errors.Is(d.Err, core.ErrUnreachable) || d.Target.Member != "b" {
				t.Errorf("dead letter %+v (%v)", d, d.Err)
			}
		}
		if len(all) != len(want) || sum(all, core.DeliveryUnknown) != 5 {
			t.Errorf("%d dead letters for %d messages, want %d for 5", len(all), sum(all, core.DeliveryUnknown), len(want))
		}
	})
}

// TestNothingIsLostByAStop: the orderly end of either side leaves nothing of unknown fate, however much is
// on its way.
func TestNothingIsLostByAStop(t *testing.T) {
	for _, who := range []string{"the sender", "the receiver", "both"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(MemoryConfig{Delay: 5 * time.Millisecond})
				a, b := startNode(t, "a", onHost(m, "a")), startNode(t, "b", onHost(m, "b"))
				join(t, a, b)
				a.echo("echo")
				b.echo("echo")
				fromA, fromB := a.letters(), b.letters()
				for range 3_000 {
					_ = a.at(b, "echo").Tell(str("x"))
					_ = b.at(a, "echo").Tell(str("x"))
				}
				began := time.Now()
				var stops sync.WaitGroup
				for name, n := range map[string]*node{"the sender": a, "the receiver": b} {
					if who == name || who == "both" {
						stops.Go(func() { _ = n.r.Stop(t.Context()) })
					}
				}
				stops.Wait()
				if took := time.Since(began); took >= receiptPause {
					t.Errorf("the stop took %v", took)
				}
				time.Sleep(10 * time.Second)
				for _, l := range []*letters{fromA, fromB} {
					all := l.take()
					if n := sum(all, core.DeliveryUnknown); n != 0 {
						t.Errorf("%d messages of unknown fate", n)
					}
				}
			})
		})
	}
}

// TestTellsAgainstAModel: names and counts stay right while the ring grows, wraps and forgets.
func TestTellsAgainstAModel(t *testing.T) {
	for _, run := range []struct{ queue, hand, handle int }{{10, 10, 10}, {500, 300, 100}, {3_000, 2_900, 100}, {9_000, 9_000, 1}} {
		var w tells
		for i := range 5 {
			for range run.queue {
				w.add(fmt.Sprint(w.queued), "t")
			}
			w.handed = min(w.queued, w.handed+uint64(run.hand))
			if err := w.receipt(&receipt{handled: min(w.handed, w.handled+uint64(run.handle))}); err != nil {
				t.Fatal(err)
			}
			named, more := w.unreported()
			if uint64(len(named))+more != w.open() || len(w.names) > keepTells {
				t.Fatalf("%+v, step %d: %d names and %d more, %d open", run, i, len(named), more, w.open())
			}
			for j, n := range named {
				if want := fmt.Sprint(w.handled + more + uint64(j)); n.target != want {
					t.Fatalf("%+v, step %d: name %d is %q, want %q", run, i, j, n.target, want)
				}
			}
			if kept := int(w.queued - w.handled); kept <= keepTells && more != 0 {
				t.Fatalf("%+v, step %d: %d forgotten of %d", run, i, more, kept)
			}
		}
	}
}

// TestReceiptsThatLie: a peer that reports what it was not sent, or in a form of its own, loses the link.
func TestReceiptsThatLie(t *testing.T) {
	many := &granarypb.Receipt{}
	for range maxRefused + 1 {
		many.Refused = append(many.Refused, &granarypb.RefusedMessages{})
	}
	for _, row := range []struct {
		name string
		data []byte
		m    *granarypb.Receipt
	}{
		{name: "more handled than sent", m: &granarypb.Receipt{Handled: 1}},
		{name: "more refused than sent", m: &granarypb.Receipt{MoreRefused: 1}},
		{name: "refused by the maximum", m: &granarypb.Receipt{Refused: []*granarypb.RefusedMessages{{Count: 1<<64 - 1}, {Count: 1}}}},
		{name: "more refused by the maximum", m: &granarypb.Receipt{MoreRefused: 1<<64 - 1, Refused: []*granarypb.RefusedMessages{{Count: 1}}}},
		{name: "too many entries", m: many},
		{name: "not UTF-8", data: []byte{tagRefused, 3, tagRefusedTarget, 1, 0xff}},
		{name: "truncated", data: []byte{tagRefused, 200}},
		{name: "an entry truncated", data: []byte{tagRefused, 2, tagRefusedText, 9}},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := attacked(t, nil)
			got := x.letters()
			s := x.link()
			data := row.data
			if row.m != nil {
				var err error
				if data, err = proto.Marshal(row.m); err != nil {
					t.Fatal(err)
				}
			}
			s.send(x.batch(targetLink, 0, func(b *remotepb.MessageBatch) {
				b.TypeNames, b.Envelopes[0].MessageData = []string{typeReceipt}, data
			}))
			if code := s.end(); code != codes.InvalidArgument {
				t.Errorf("the link ended with %v, want %v", code, codes.InvalidArgument)
			}
			if all := got.take(); len(all) != 0 {
				t.Errorf("dead letters %+v", all)
			}
		})
	}
}

// TestReceiptOfARawPeer: what the wire has of a refused message, and that an empty receipt is harmless.
func TestReceiptOfARawPeer(t *testing.T) {
	x := attacked(t, nil)
	s := x.link()
	s.send(x.batch(targetLink, 0, func(b *remotepb.MessageBatch) {
		b.TypeNames, b.Envelopes[0].MessageData = []string{typeReceipt}, nil
	}))
	s.send(x.batch("nobody", 0, nil))
	s.send(x.batch("nobody", 0, nil))
	for {
		frame, err := s.recv()
		if err != nil {
			t.Fatal(err)
		}
		var m remotepb.RemoteMessage
		if err := proto.Unmarshal(frame, &m); err != nil {
			t.Fatal(err)
		}
		b := m.GetMessageBatch()
		var r granarypb.Receipt
		if err := proto.Unmarshal(b.GetEnvelopes()[0].GetMessageData(), &r); err != nil {
			t.Fatal(err)
		}
		if b.GetTypeNames()[0] != typeReceipt {
			t.Fatalf("type %q", b.GetTypeNames())
		}
		if r.GetHandled() < 2 {
			continue
		}
		if one := r.GetRefused(); len(one) != 1 || one[0].GetTarget() != "nobody" || one[0].GetTypeName() != stringType ||
			one[0].GetCount() != 2 || one[0].GetSentinel() != core.ErrStopped.Error() || one[0].GetText() == "" {
			t.Errorf("receipt %v", &r)
		}
		break
	}
	x.alive(s)
}

// TestReceiptForm: the encoder and the decoder agree with the generated code.
func TestReceiptForm(t *testing.T) {
	r := receipt{handled: 3, more: 1 << 40, refused: []refusedMessages{
		{target: "a", typ: "t.T", sentinel: "busy", text: strings.Repeat("é", 300), count: 1<<64 - 1}, {},
	}}
	b, err := r.AppendWire(nil)
	if err != nil {
		t.Fatal(err)
	}
	var m granarypb.Receipt
	if err := proto.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if m.GetHandled() != 3 || m.GetMoreRefused() != 1<<40 || len(m.GetRefused()) != 2 || m.GetRefused()[0].GetCount() != 1<<64-1 || m.GetRefused()[0].GetText() != r.refused[0].text {
		t.Errorf("generated code reads %v", &m)
	}
	if again, err := parseReceipt(b); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("read %+v, %v, want %+v", again, err, r)
	}
}

// TestReceiptsDoNotGoBack: a peer that has said how many messages it handled cannot say fewer later.
func TestReceiptsDoNotGoBack(t *testing.T) {
	sent := tells{queued: 5, handed: 5}
	for _, step := range []struct {
		handled uint64
		ok      bool
		open    uint64
	}{{3, true, 2}, {3, true, 2}, {2, false, 2}, {0, false, 2}, {6, false, 2}, {5, true, 0}, {4, false, 0}} {
		err := sent.receipt(&receipt{handled: step.handled})
		if (err == nil) != step.ok || sent.open() != step.open {
			t.Errorf("a receipt for %d: %v, %d are open, want %d", step.handled, err, sent.open(), step.open)
		}
		if _, is := errors.AsType[*protocolError](err); err != nil && !is {
			t.Errorf("a receipt for %d: %v does not end the link as a violation", step.handled, err)
		}
	}
}

// TestLostSystemMessages: of the runtime's own messages only a stop is a dead letter when its link breaks; what
// belongs to watches is told again, or repaired.
func TestLostSystemMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		got := a.letters()
		c := a.r.endpoints[b.id].cur.Load()
		var left lost
		for _, typ := range []string{typeWatch, typeStop, typeUnwatch, stringType, typeTerminated, typeWatch} {
			left.tells = append(left.tells, tellName{"p", typ})
		}
		c.unreported(left, errLeft)
		synctest.Wait()
		var types []string
		for _, d := range got.take() {
			types = append(types, d.Type)
		}
		if want := []string{typeStop, stringType}; !slices.Equal(types, want) {
			t.Errorf("dead letters of types %v, want %v", types, want)
		}
	})
}
