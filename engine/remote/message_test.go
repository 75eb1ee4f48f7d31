package remote

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connguard"
)

// rawProcess is a process of the engine that takes bytes.
type rawProcess struct{ got chan *Inbound }

func (p *rawProcess) Send(target core.PID, e actor.Envelope) error {
	in, ok := e.Message.(*Inbound)
	if !ok {
		return core.WithDelivery(core.ErrInvalid, core.Undelivered)
	}
	p.got <- in
	if e.Reply != nil {
		e.Reply.Reply(e.ReplyID, pieces{append([]byte("re: "), in.Data...)}, nil)
	}
	return nil
}

func (p *rawProcess) SendSystem(target core.PID, _ actor.SystemMessage) error {
	return &actor.DeadLetterError{Target: target}
}

// TestBytesBothWays: messages that write themselves, raw processes and raw prefixes, and answers that
// stay bytes.
func TestBytesBothWays(t *testing.T) {
	_, a, b := pair(t, nil)
	p := &rawProcess{got: make(chan *Inbound, 4)}
	if _, err := b.sys.Register("$raw", p); err != nil {
		t.Fatal(err)
	}
	if _, err := b.sys.Register("g/1", p); err != nil {
		t.Fatal(err)
	}
	b.r.AllowRaw("$raw", "test.Pieces")
	b.r.AllowRaw("g/", "test.Other", "google.protobuf.StringValue")
	long := strings.Repeat("long ", 100)
	text, _ := proto.Marshal(str("x"))
	for _, tt := range []struct {
		target string
		msg    any
		data   string
	}{
		{"$raw", pieces{[]byte("short")}, "short"},
		{"$raw", pieces{[]byte(long)}, long},
		{"$raw", pieces{}, ""},
		{"g/1", core.Message{Type: "test.Other", Data: []byte("core")}, "core"},
		{"g/1", &Inbound{Type: "test.Other", Data: []byte("passed on")}, "passed on"},
		{"g/1", str("x"), string(text)}, // registered, but this target takes it as bytes
	} {
		got, err := a.ask(a.at(b, tt.target), tt.msg, time.Minute)
		in := <-p.got
		if string(in.Data) != tt.data || in.From.Member.ID != "a" || in.From.Client || in.From.Epoch == 0 || in.RequestID == 0 {
			t.Errorf("arrived %+v, want %q", in, tt.data)
		}
		answer, ok := got.(*Inbound)
		if err != nil || !ok || string(answer.Data) != "re: "+tt.data || answer.Type != "test.Pieces" {
			t.Errorf("answer %v, %v", got, err)
		}
	}
	if _, err := a.ask(a.at(b, "$raw"), core.Message{Type: "test.Other"}, time.Minute); !errors.Is(err, core.ErrUnsupported) {
		t.Errorf("a type that the process does not take: %v", err)
	}
}

// TestSlowReceiverHoldsItsOwnBytes: a message does not share memory with the frame it came in.
func TestSlowReceiverHoldsItsOwnBytes(t *testing.T) {
	for _, n := range []int{0, 1, smallMessage, smallMessage + 1, 5000} {
		data := []byte(strings.Repeat("x", n))
		in := newInbound("t", data)
		clear(data)
		if string(in.Data) != strings.Repeat("x", n) || cap(in.Data) > n+n/4+64 {
			t.Errorf("message of %d bytes: %d bytes, capacity %d", n, len(in.Data), cap(in.Data))
		}
		if in.Size() != n+1 {
			t.Errorf("size %d of a message of %d bytes", in.Size(), n)
		}
		in.Release()
	}
}

// taker takes messages over and answers when it is told to.
type taker struct {
	rawProcess
	refuse bool
	took   chan *taken
}

type taken struct {
	Kept
	in    *Inbound // what the connection lent
	reply actor.Replier
	id    uint64
}

func (p *taker) Send(_ core.PID, e actor.Envelope) error {
	m := &taken{in: e.Message.(*Inbound), id: e.ReplyID}
	m.reply = m.TakeOver(m.in, e.Reply)
	p.took <- m
	if p.refuse {
		return core.WithDelivery(core.ErrOverloaded, core.Undelivered)
	}
	return nil
}

// TestTakeOver: each message stays what it was although all come in one Inbound, and is answered late as itself.
func TestTakeOver(t *testing.T) {
	_, a, b := pair(t, nil)
	p := &taker{took: make(chan *taken, 8)}
	if _, err := b.sys.Register("$raw", p); err != nil {
		t.Fatal(err)
	}
	b.r.AllowRaw("$raw", "test.Pieces")
	long := strings.Repeat("long ", 100)
	texts := []string{"first", long, "", "fourth", long + "5"}
	answers := make([]chan any, len(texts))
	var all []*taken
	for i, text := range texts {
		answers[i] = make(chan any, 1)
		go func() {
			got, err := a.ask(a.at(b, "$raw"), pieces{[]byte(text)}, time.Minute)
			if err != nil {
				t.Error(err)
			}
			answers[i] <- got
		}()
		all = append(all, <-p.took)
	}
	for i, m := range all {
		if string(m.Data) != texts[i] || m.Type != "test.Pieces" || m.From.Member.ID != "a" || m.RequestID != m.id || m.in != all[0].in {
			t.Errorf("message %d is %+v, by %p, want %q by %p", i, &m.Inbound, m.in, texts[i], all[0].in)
		}
		m.reply.Reply(m.id, pieces{append([]byte("re: "), m.Data...)}, nil)
		m.reply.Reply(m.id, pieces{[]byte("again")}, nil)
		if got, ok := (<-answers[i]).(*Inbound); !ok || string(got.Data) != "re: "+texts[i] {
			t.Errorf("answer %d: %+v", i, got)
		}
	}
	eventually(t, "no ask open", func() bool { return openAsks(b) == 0 })
}

// TestRefusedAfterTakeOver is answered once, by the connection.
func TestRefusedAfterTakeOver(t *testing.T) {
	_, a, b := pair(t, nil)
	p := &taker{took: make(chan *taken, 1), refuse: true}
	if _, err := b.sys.Register("$raw", p); err != nil {
		t.Fatal(err)
	}
	b.r.AllowRaw("$raw", "test.Pieces")
	for range 3 {
		if _, err := a.ask(a.at(b, "$raw"), pieces{[]byte("x")}, time.Minute); !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("answer %v", err)
		}
		<-p.took
	}
	eventually(t, "no ask open", func() bool { return openAsks(b) == 0 })
}

// TestTakenOverHoldsTheShare of its client until it is released.
func TestTakenOverHoldsTheShare(t *testing.T) {
	for _, n := range []int{smallMessage, smallMessage + 1} {
		var k Kept
		s := connguard.NewBudget(1<<20, 1<<20).Share()
		in := newInbound("t", []byte(strings.Repeat("x", n)))
		in.ask.c = &conn{share: s}
		if !in.ask.hold(s, n) || k.TakeOver(in, nil) != nil || s.Held() == 0 {
			t.Fatalf("%d bytes: %d are held", n, s.Held())
		}
		k.Release()
		k.Release()
		if s.Held() != 0 || k.Data != nil {
			t.Errorf("%d bytes: %d are held after Release", n, s.Held())
		}
	}
}

// openAsks are those of n's peers.
func openAsks(n *node) (open int64) {
	for _, c := range n.r.conns() {
		open += c.open.Load()
	}
	return open
}

// TestUndecodableMessage: what does not decode is told to the asker, and the actor does not see it.
func TestUndecodableMessage(t *testing.T) {
	_, a, b := pair(t, nil)
	seen := make(chan any, 4)
	b.spawn("sees", func(c *actor.Context) {
		if _, ok := c.Message().(proto.Message); ok {
			seen <- c.Message()
		}
	})
	_, err := a.ask(a.at(b, "sees"), core.Message{Type: "google.protobuf.StringValue", Data: []byte{0xff}}, time.Minute)
	if !errors.Is(err, core.ErrInvalid) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("error %v, %v", err, core.DeliveryOf(err))
	}
	if len(seen) != 0 {
		t.Errorf("the actor saw %v", <-seen)
	}
}

// TestAllocations holds what a message costs on both sides together, its decoding included.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		return // the detector allocates
	}
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	join(t, x, y)
	const n = 20_000
	arrived := make(chan struct{}, 1)
	left := n
	_, err := y.sys.SpawnNamed("sink", &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor {
		return actor.Func(func(c *actor.Context) {
			if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
				if left--; left == 0 {
					left = n
					arrived <- struct{}{}
				}
			}
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	to, msg := x.at(y, "sink"), wrapperspb.Bytes(make([]byte, 16))
	per := testing.AllocsPerRun(3, func() {
		for range n {
			for to.Tell(msg) != nil {
				time.Sleep(time.Millisecond)
			}
		}
		<-arrived
	}) / n
	if per > 4 {
		t.Errorf("%.2f allocations a message, at most 4 are allowed", per)
	}
}
