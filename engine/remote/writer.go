package remote

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connguard"
)

// writer gathers messages into frames, in the order of sending, and writes them to a link. Whoever
// sends encodes its message straight into the frame; a goroutine of the writer does the writing, so
// that many asks share one. It knows the asks whose answers are outstanding. Safe for concurrent use.
type writer struct {
	limits *Limits
	frames *sync.Pool // of *outFrame
	peer   string     // for the texts of errors
	full   error      // what a send beyond the bounds gets
	wake   chan struct{}
	done   func(*outFrame) // written

	mu       sync.Mutex
	build    builder
	cur      *outFrame   // under construction; nil: none
	sealed   []queued    // complete, oldest first
	msgs     int         // queued, not yet handed to the link
	bytes    int         // of them
	seq      uint64      // of the frame under construction
	sent     uint64      // of the last frame handed to the link
	inflight int         // frames handed over that the link has not written
	awake    bool        // the flusher has been told
	opened   bool        // there is a link
	ended    error       // why nothing is taken any more
	leaving  bool        // users' messages are refused with full
	farewell bool        // goodbye was said
	final    bool        // and that nothing is awaited
	quiet    []chan bool // closed when all is written

	share *connguard.Share // of a client's connection; nil: a member's, or its end was decided
	cost  int              // that the frame under construction has of it
	held  int              // what is counted against it
	since time.Time        // when the link last took or wrote a frame while it holds one
	now   func() time.Time

	tells  tells
	asks   map[uint64]ask
	kept   int    // asks before the next sweep may be
	nextID uint64 // of asks whose own ID cannot be used
}

type queued struct {
	frame *outFrame
	seq   uint64
	msgs  int
	tells uint64 // as tells.queued was when it was complete
}

// ask is a question whose answer is outstanding.
type ask struct {
	reply actor.Replier
	id    uint64
	seq   uint64 // of the frame that it went into
	tick  uint32 // of the Remote, when it was sent
}

const (
	// maxInFlight is how many frames a link may hold unwritten: one that is written, one behind it.
	maxInFlight = 2
	// keepFrame is the largest buffer of a frame that is used again.
	keepFrame = 256 << 10
	// sweepShare: between two sweeps come at least Limits.Asks/sweepShare more asks.
	sweepShare = 16
	// firstFrame is the size of a new buffer.
	firstFrame = 2 << 10
	// foreignAsk marks the wire's IDs of asks that are not slots of the local system.
	foreignAsk = 1 << 63
)

// sendRetry is what a refused sender is told to wait.
const sendRetry = 10 * time.Millisecond

func newWriter(l *Limits, frames *sync.Pool, peer, here, there string) *writer {
	full := fmt.Errorf("remote: send to %s: %d messages or %d bytes wait for the link: %w; send less, or set Limits.QueueMessages and QueueBytes",
		peer, l.QueueMessages, l.QueueBytes, core.ErrOverloaded)
	w := &writer{
		limits: l, frames: frames, peer: peer, wake: make(chan struct{}, 1),
		full:  core.Retry(undelivered(full), sendRetry),
		build: builder{limits: l, here: here, there: there},
		asks:  make(map[uint64]ask),
	}
	w.done = w.written
	return w
}

// urgency says how far past the bounds of the queue a message may go.
type urgency int

const (
	ofUser    urgency = 1 // to the bounds
	ofRuntime urgency = 2 // answers and system messages: to twice the bounds, then the link ends
)

// errFlooded ends a link whose peer does not read the answers to its own questions; errStalled that of a
// client which reads nothing for too long; errSlowest that of a client when others need the room.
var (
	errFlooded = fmt.Errorf("the peer does not read its answers: %w", core.ErrOverloaded)
	errStalled = fmt.Errorf("nothing was read in time (Limits.ClientStall): %w", errFlooded)
	errSlowest = fmt.Errorf("clients' answers hold too much, and it reads slowest (Limits.ClientBytes): %w", errFlooded)
)

// send queues o. An error means that it will not be sent, and carries core.Undelivered; errFlooded
// means that the link should end.
func (w *writer) send(o *outgoing, u urgency) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue(o, u)
}

// sendAsk is send for a message whose answer goes to reply. direct says that id may be the one on the
// wire.
func (w *writer) sendAsk(o *outgoing, reply actor.Replier, id uint64, direct bool, tick uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kept--; len(w.asks) >= w.limits.Asks && !w.sweep() {
		return w.full
	}
	o.requestID = id
	if _, taken := w.asks[id]; taken || !direct || id == 0 {
		o.requestID = w.freeID()
	}
	if err := w.queue(o, ofUser); err != nil {
		return err
	}
	w.asks[o.requestID] = ask{reply, id, w.seq, tick}
	return nil
}

// awaiter is an actor.Replier that knows whether somebody still waits, as actor.System does.
type awaiter interface{ Awaits(id uint64) bool }

// sweep forgets the asks that nobody waits for any more: those whose ctx ended, and whose target never
// answers. It reports whether there is room now. It goes over all asks, so it does not come often. The
// caller holds w.mu.
func (w *writer) sweep() bool {
	if w.kept > 0 {
		return false
	}
	w.kept = w.limits.Asks/sweepShare + 1
	for id, a := range w.asks {
		if r, ok := a.reply.(awaiter); ok && !r.Awaits(a.id) {
			delete(w.asks, id)
		}
	}
	return len(w.asks) < w.limits.Asks
}

// freeID is an ID for an ask that has none of its own. The caller holds w.mu.
func (w *writer) freeID() uint64 {
	for {
		w.nextID++
		id := foreignAsk | w.nextID
		if _, taken := w.asks[id]; !taken {
			return id
		}
	}
}

func (w *writer) queue(o *outgoing, u urgency) error {
	if w.ended != nil {
		return w.ended
	}
	if w.leaving && u != ofRuntime {
		return w.full
	}
	if w.msgs >= int(u)*w.limits.QueueMessages || w.bytes >= int(u)*w.limits.QueueBytes {
		if u == ofRuntime {
			return errFlooded
		}
		return w.full
	}
	if w.share != nil && (w.share.Full() || u == ofUser && w.share.Over()) {
		if u == ofRuntime {
			return errFlooded
		}
		return w.full
	}
	if w.cur == nil {
		w.cur = w.newFrame()
		w.build.start(w.cur.data[:0])
		w.seq++
	}
	before := len(w.build.buf)
	if err := w.build.add(o); err != nil {
		return undelivered(fmt.Errorf("remote: send to %s: %w", w.peer, err))
	}
	w.msgs++
	w.bytes += len(w.build.buf) - before
	w.charge(len(w.build.buf) - before)
	if o.requestID == 0 && o.replyTo == 0 && w.build.types.last != typeReceipt {
		w.tells.add(o.target, w.build.types.last)
	}
	if w.build.full() {
		w.seal()
	}
	w.signal()
	return nil
}

func (w *writer) newFrame() *outFrame {
	f, ok := w.frames.Get().(*outFrame)
	if !ok {
		f = &outFrame{data: make([]byte, 0, firstFrame)}
	}
	f.done = w.done
	return f
}

// seal completes the frame under construction. The caller holds w.mu.
func (w *writer) seal() {
	msgs := w.build.count
	w.cur.data = w.build.finish()
	w.cur.cost, w.cost = w.cost, 0
	w.sealed = append(w.sealed, queued{w.cur, w.seq, msgs, w.tells.queued})
	w.cur = nil
}

// charge counts n more bytes of the frame under construction. The caller holds w.mu.
func (w *writer) charge(n int) {
	if w.share == nil {
		return
	}
	w.cost += n
	w.held += n
	w.share.Take(n)
}

// refund gives back what a frame cost. The caller holds w.mu.
func (w *writer) refund(f *outFrame) {
	if w.share != nil {
		w.share.Give(f.cost)
		w.held -= f.cost
	}
	f.cost = 0
}

// uncount gives everything back for good: the link ends. The caller holds w.mu.
func (w *writer) uncount() {
	if w.share != nil {
		w.share.Give(w.held)
	}
	w.share, w.held = nil, 0
}

// unread is since when the link has a frame that it does not write, and what waits; zero: none, or the
// end of the link was decided.
func (w *writer) unread() (since time.Time, held int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.share == nil || w.inflight == 0 || w.held == 0 {
		return time.Time{}, 0
	}
	return w.since, w.held
}

// shed gives everything back ahead of the end that was decided. False: it was before.
func (w *writer) shed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	counted := w.share != nil
	w.uncount()
	return counted
}

// signal tells the flusher that there is something to write. The caller holds w.mu.
func (w *writer) signal() {
	if w.awake || !w.opened {
		return
	}
	w.awake = true
	nudge(w.wake)
}

// open lets the flusher begin.
func (w *writer) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened = true
	w.signal()
}

// take is the next frame to write, or nil: there is none, or the link has enough. While a frame is
// being written, what comes is gathered.
func (w *writer) take() *outFrame {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil && (w.inflight < 1 || w.inflight < maxInFlight && len(w.sealed) > 0) {
		if len(w.sealed) == 0 && w.cur != nil && w.build.count > 0 {
			w.seal()
		}
		if len(w.sealed) > 0 {
			q := w.sealed[0]
			w.sealed = slices.Delete(w.sealed, 0, 1) // few; their room is used again
			w.msgs -= q.msgs
			w.bytes -= max(len(q.frame.data)-frameHead, 0)
			w.sent, w.tells.handed = q.seq, q.tells
			if w.inflight++; w.share != nil && w.inflight == 1 {
				w.since = w.now()
			}
			return q.frame
		}
	}
	w.awake = false
	return nil
}

// written is called by the link for each frame that it is done with.
func (w *writer) written(f *outFrame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refund(f)
	if cap(f.data) <= keepFrame && cap(f.data) >= firstFrame {
		w.frames.Put(f)
	}
	if w.inflight--; w.share != nil {
		w.since = w.now()
	}
	if len(w.sealed) > 0 || w.cur != nil && w.build.count > 0 {
		w.signal()
		return
	}
	if w.inflight == 0 {
		w.tellQuiet()
	}
}

func (w *writer) tellQuiet() {
	for _, c := range w.quiet {
		close(c)
	}
	w.quiet = nil
}

// drained returns a channel that is closed when all that was queued has been written, or lost.
func (w *writer) drained() <-chan bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan bool)
	w.quiet = append(w.quiet, c)
	if w.ended != nil || w.inflight == 0 && len(w.sealed) == 0 && (w.cur == nil || w.build.count == 0) {
		w.tellQuiet()
	}
	return c
}

// flush writes what is queued to l until done is closed or l fails.
func (w *writer) flush(l link, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		case <-w.wake:
		}
		for {
			runtime.Gosched() // who is about to send as well shares the write
			f := w.take()
			if f == nil {
				break
			}
			if err := l.append(f); err != nil {
				return err
			}
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
}

// answered takes the ask that an answer is for; false: none is outstanding.
func (w *writer) answered(id uint64) (ask, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.asks[id]
	delete(w.asks, id)
	return a, ok
}

// lost is what a link left behind at its end.
type lost struct {
	asks   []ask // sent tells which
	sent   uint64
	frames []*outFrame // that were never handed to the link

	tells     []tellName // handed over, no answer awaited, no receipt
	moreTells uint64     // whose names are forgotten
}

// end makes all later sends fail with err, and gives what is unfinished. Only the first call does.
func (w *writer) end(err error) (lost, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil {
		return lost{}, false
	}
	if w.cur != nil && w.build.count > 0 {
		w.seal()
	}
	w.ended = undelivered(err)
	w.uncount()
	out := lost{sent: w.sent, asks: make([]ask, 0, len(w.asks))}
	out.tells, out.moreTells = w.tells.unreported()
	for _, a := range w.asks {
		out.asks = append(out.asks, a)
	}
	for _, q := range w.sealed {
		out.frames = append(out.frames, q.frame)
	}
	w.asks, w.sealed, w.msgs, w.bytes, w.tells.names = nil, nil, 0, 0, nil
	w.tellQuiet()
	return out, true
}

// expired takes the asks that were sent age ticks ago or more, and of which nobody is known to wait.
func (w *writer) expired(tick, age uint32) []ask {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []ask
	for id, a := range w.asks {
		if tick-a.tick < age {
			continue
		}
		if r, ok := a.reply.(awaiter); ok && r.Awaits(a.id) {
			continue // a caller without a deadline: the link lives
		}
		out = append(out, a)
		delete(w.asks, id)
	}
	return out
}

// refuse makes all later sends of users fail with err; answers still go out.
func (w *writer) refuse(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaving = true
	w.full = undelivered(err)
}

// settled reports whether the peer has answered every ask and reported every other message that the
// link took.
func (w *writer) settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asks) == 0 && w.tells.open() == 0
}

// goodbye queues a DisconnectRequest behind everything else, once; of what comes later only answers and
// receipts are taken. settled says so to the peer, once more if need be.
func (w *writer) goodbye(err error, settled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil || w.final || w.farewell && !settled {
		return
	}
	if w.cur != nil && w.build.count > 0 {
		w.seal()
	}
	w.leaving, w.farewell, w.final = true, true, settled
	w.full = undelivered(err)
	text := frameDisconnect
	if settled {
		text = frameSettled
	}
	w.seq++
	w.sealed = append(w.sealed, queued{&outFrame{data: append(make([]byte, 0, firstFrame), text...), done: w.done}, w.seq, 0, w.tells.queued})
	w.signal()
}
