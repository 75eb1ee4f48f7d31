package remote

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/remotepb"
)

// heldLink keeps frames until they are let go.
type heldLink struct {
	mu     sync.Mutex
	frames []*outFrame
	got    chan struct{}
}

func (l *heldLink) append(f *outFrame) error {
	l.mu.Lock()
	l.frames = append(l.frames, f)
	l.mu.Unlock()
	l.got <- struct{}{}
	return nil
}
func (l *heldLink) flush() error          { return nil }
func (l *heldLink) next() ([]byte, error) { select {} }
func (l *heldLink) close(error)           {}
func (l *heldLink) identity() identity    { return identity{} }

// written lets the oldest frame go and returns its batch.
func (l *heldLink) written(t *testing.T) *remotepb.MessageBatch {
	t.Helper()
	l.mu.Lock()
	f := l.frames[0]
	l.frames = l.frames[1:]
	l.mu.Unlock()
	var m remotepb.RemoteMessage
	if err := proto.Unmarshal(f.data, &m); err != nil {
		t.Fatal(err)
	}
	f.done(f)
	return m.GetMessageBatch()
}

func testWriter(t testing.TB, edit func(*Limits)) *writer {
	return newWriter(testLimits(t, edit), &sync.Pool{}, "member x", "here:1", "there:1")
}

func (w *writer) tell(size int) error {
	return w.send(&outgoing{target: "t", msg: pieces{make([]byte, size)}}, ofUser)
}

// replies collects answers.
type replies struct {
	mu   sync.Mutex
	errs map[uint64]error
}

func (r *replies) Reply(id uint64, _ any, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errs == nil {
		r.errs = map[uint64]error{}
	}
	r.errs[id] = err
}

// TestQueueBounds tries both bounds of the queue at bound - 1, bound and bound + 1.
func TestQueueBounds(t *testing.T) {
	w := testWriter(t, func(l *Limits) { l.QueueMessages = 5 })
	for i := range 6 {
		err := w.tell(10)
		if (err != nil) != (i >= 5) {
			t.Errorf("message %d of at most 5: %v", i+1, err)
		}
		if err != nil && (!errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered) {
			t.Errorf("refused with %v, %v", err, core.DeliveryOf(err))
		}
	}
	// Answers and system messages go past the bounds, up to their double; then the link should end.
	for i := range 6 {
		err := w.send(&outgoing{target: "t", msg: pieces{}}, ofRuntime)
		if (err != nil) != (i >= 5) || err != nil && !errors.Is(err, errFlooded) {
			t.Errorf("answer %d of at most 5: %v", i+1, err)
		}
	}
	w = testWriter(t, func(l *Limits) { l.QueueBytes = 1000 })
	for w.bytes < 999 {
		before := w.bytes
		if err := w.tell(min(100, max(0, 999-before-40))); err != nil {
			t.Fatalf("refused at %d bytes: %v", before, err)
		}
	}
	for {
		before := w.bytes
		err := w.tell(1)
		if (err != nil) != (before >= 1000) {
			t.Fatalf("at %d bytes of at most 1,000: %v", before, err)
		}
		if err != nil {
			break
		}
	}
}

func TestAskBound(t *testing.T) {
	w := testWriter(t, func(l *Limits) { l.Asks = 3 })
	var r replies
	for i := range 4 {
		err := w.sendAsk(&outgoing{target: "t", msg: pieces{}}, &r, uint64(i+1), true, 0)
		if (err != nil) != (i >= 3) {
			t.Errorf("ask %d of at most 3: %v", i+1, err)
		}
	}
	if a, ok := w.answered(2); !ok || a.id != 2 {
		t.Errorf("answered: %+v, %v", a, ok)
	}
	if _, ok := w.answered(2); ok {
		t.Error("answered twice")
	}
	// An ID that is taken, or is not the local system's, travels under another.
	o := outgoing{target: "t", msg: pieces{}}
	if err := w.sendAsk(&o, &r, 1, true, 0); err != nil || o.requestID == 1 {
		t.Errorf("an ID in use went out twice: %v", err)
	}
	if a, ok := w.answered(o.requestID); !ok || a.id != 1 {
		t.Errorf("its answer: %+v, %v", a, ok)
	}
}

// TestFramesAreSplit: no frame holds more messages, types or bytes than it may, and none is dropped.
func TestFramesAreSplit(t *testing.T) {
	w := testWriter(t, func(l *Limits) { l.Batch, l.Gather, l.Types = 7, 2000, 3 })
	rnd := rand.New(rand.NewPCG(1, 2))
	const n = 500
	for i := range n {
		m := core.Message{Type: string(rune('a' + rnd.IntN(6))), Data: make([]byte, rnd.IntN(900))}
		if err := w.send(&outgoing{target: "t", msg: m, header: map[string]string{"n": string(rune(i))}}, ofUser); err != nil {
			t.Fatal(err)
		}
	}
	l := &heldLink{got: make(chan struct{}, n)}
	done := make(chan struct{})
	ended := make(chan error, 1)
	w.open()
	go func() { ended <- w.flush(l, done) }()
	next := 0
	for next < n {
		<-l.got
		b := l.written(t)
		if len(b.GetEnvelopes()) > 7 || len(b.GetTypeNames()) > 3 || proto.Size(b) > 2000+1000 {
			t.Errorf("a frame of %d messages, %d types, %d bytes", len(b.GetEnvelopes()), len(b.GetTypeNames()), proto.Size(b))
		}
		for _, e := range b.GetEnvelopes() {
			if got := e.GetMessageHeader().GetHeaderData()["n"]; got != string(rune(next)) {
				t.Fatalf("message %q at place %d", got, next)
			}
			next++
		}
	}
	<-w.drained()
	close(done)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if w.msgs != 0 || w.bytes != 0 || w.inflight != 0 {
		t.Errorf("%d messages, %d bytes, %d frames are left", w.msgs, w.bytes, w.inflight)
	}
}

// TestGathers: what comes while a frame is being written goes into one frame.
func TestGathers(t *testing.T) {
	w := testWriter(t, nil)
	l := &heldLink{got: make(chan struct{}, 10)}
	done := make(chan struct{})
	ended := make(chan error, 1)
	w.open()
	go func() { ended <- w.flush(l, done) }()
	if err := w.tell(1); err != nil {
		t.Fatal(err)
	}
	<-l.got // sent at once
	for range 100 {
		if err := w.tell(1); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.written(t).GetEnvelopes()); n != 1 {
		t.Errorf("the first frame has %d messages", n)
	}
	<-l.got
	if n := len(l.written(t).GetEnvelopes()); n != 100 {
		t.Errorf("the second frame has %d messages, want the 100 that were gathered", n)
	}
	close(done)
	<-ended
}

// TestEndTellsSentFromUnsent: an ask that was handed to the link is unknown, one behind it is not
// delivered.
func TestEndTellsSentFromUnsent(t *testing.T) {
	w := testWriter(t, nil)
	var r replies
	ask := func(id uint64) {
		if err := w.sendAsk(&outgoing{target: "t", msg: pieces{}}, &r, id, true, 0); err != nil {
			t.Fatal(err)
		}
	}
	ask(1)
	if w.take() == nil {
		t.Fatal("nothing to write")
	}
	ask(2)
	left, first := w.end(core.ErrUnreachable)
	if !first || len(left.asks) != 2 || len(left.frames) != 1 {
		t.Fatalf("left %+v, %v", left, first)
	}
	for _, a := range left.asks {
		if sent := a.seq <= left.sent; sent != (a.id == 1) {
			t.Errorf("ask %d counts as sent: %v", a.id, sent)
		}
	}
	if _, again := w.end(core.ErrStopped); again {
		t.Error("ended twice")
	}
	if err := w.tell(1); !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("send after the end: %v", err)
	}
	<-w.drained()
}

func TestGoodbye(t *testing.T) {
	w := testWriter(t, nil)
	_ = w.tell(1)
	w.goodbye(core.ErrStopped, false)
	w.goodbye(core.ErrStopped, false)
	if err := w.tell(1); !errors.Is(err, core.ErrStopped) {
		t.Errorf("send after goodbye: %v", err)
	}
	if len(w.sealed) != 2 || string(w.sealed[1].frame.data) != frameDisconnect {
		t.Errorf("%d frames are queued, want the messages and then the goodbye", len(w.sealed))
	}
}
