package remote

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/convert"
)

// A granary.Receipt says what became of messages that await no answer: how many of a connection have
// been handled, and which of them were refused. It goes to whoever shook hands with a protocol version
// of Granary's own, which the handshake demands of every peer.

const (
	// typeReceipt is a message of the link itself: it reaches no process and is in no receipt.
	typeReceipt = "granary.Receipt"
	// targetLink fills the place of its target.
	targetLink = "$link"
	// maxRefused is how many entries one receipt may have.
	maxRefused = 256
	// maxReason is how much of the text of an error a receipt carries.
	maxReason = 256
)

// refusedMessages are messages of one type for one process that were refused for one reason.
type refusedMessages struct {
	target, typ, sentinel, text string
	count                       uint64
}

// size is about what r takes on the wire.
func (r *refusedMessages) size() int {
	return len(r.target) + len(r.typ) + len(r.sentinel) + len(r.text) + 32
}

// receipt is a granary.Receipt.
type receipt struct {
	handled, more uint64
	refused       []refusedMessages
}

const (
	tagHandled     = 1<<3 | 0
	tagRefused     = 2<<3 | 2
	tagMoreRefused = 3<<3 | 0

	tagRefusedTarget   = 1<<3 | 2
	tagRefusedType     = 2<<3 | 2
	tagRefusedCount    = 3<<3 | 0
	tagRefusedSentinel = 4<<3 | 2
	tagRefusedText     = 5<<3 | 2
)

// WireType is granary.Receipt.
func (r *receipt) WireType() string { return typeReceipt }

// AppendWire appends r in binary form.
func (r *receipt) AppendWire(b []byte) ([]byte, error) {
	b = appendNumber(b, tagHandled, r.handled)
	for i := range r.refused {
		body := r.refused[i].appendTo(nil)
		b = append(protowire.AppendVarint(append(b, tagRefused), uint64(len(body))), body...)
	}
	return appendNumber(b, tagMoreRefused, r.more), nil
}

func (r *refusedMessages) appendTo(b []byte) []byte {
	b = appendText(b, tagRefusedTarget, r.target)
	b = appendText(b, tagRefusedType, r.typ)
	b = appendNumber(b, tagRefusedCount, r.count)
	b = appendText(b, tagRefusedSentinel, r.sentinel)
	return appendText(b, tagRefusedText, r.text)
}

func appendNumber(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, tag), v)
}

func appendText(b []byte, tag byte, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(b, tag), s)
}

func errReceipt(text string) error { return violation("a receipt %s", text) }

// parseReceipt reads a granary.Receipt. What breaks its form or its bounds ends the link.
func parseReceipt(b []byte) (r receipt, err error) {
	entries := 0
	err = eachField(b, func(tag, number uint64, _ []byte) error {
		switch tag {
		case tagHandled:
			r.handled = number
		case tagMoreRefused:
			r.more = number
		case tagRefused:
			entries++
		}
		return nil
	})
	switch {
	case err != nil || entries == 0:
		return r, err
	case entries > maxRefused:
		return r, errReceipt(fmt.Sprintf("of %d entries, at most %d are allowed", entries, maxRefused))
	}
	r.refused = make([]refusedMessages, 0, entries)
	return r, eachField(b, func(tag, _ uint64, text []byte) error {
		if tag != tagRefused {
			return nil
		}
		r.refused = append(r.refused, refusedMessages{})
		return r.refused[len(r.refused)-1].parse(text)
	})
}

func (r *refusedMessages) parse(b []byte) error {
	return eachField(b, func(tag, number uint64, text []byte) error {
		into := &r.text
		switch tag {
		case tagRefusedCount:
			r.count = number
			return nil
		case tagRefusedTarget:
			into = &r.target
		case tagRefusedType:
			into = &r.typ
		case tagRefusedSentinel:
			into = &r.sentinel
		case tagRefusedText:
		default:
			return nil
		}
		if !utf8.Valid(text) {
			return errReceipt("with a text that is not UTF-8")
		}
		*into = string(text)
		return nil
	})
}

// parseDisconnect reads a DisconnectRequest.
func parseDisconnect(b []byte) (settled bool, err error) {
	err = eachField(b, func(tag, number uint64, _ []byte) error {
		if tag == tagSettled {
			settled = number != 0
		}
		return nil
	})
	return settled, err
}

// eachField calls f for each field of a message that is a number or bytes, in order, and skips all others.
func eachField(b []byte, f func(tag, number uint64, text []byte) error) error {
	for len(b) > 0 {
		t, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errFrame("a message of the link")
		}
		b = b[n:]
		num, typ := protowire.DecodeTag(t)
		var number uint64
		var text []byte
		switch typ {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			n = skip(t, b)
		}
		if n < 0 || num < 1 {
			return errFrame("a message of the link")
		}
		b = b[n:]
		if err := f(t, number, text); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of how often receipts go out. A refused message costs its sender more than its share of one.
const (
	receiptPause = 100 * time.Millisecond // at most between a message and its receipt
	receiptEvery = 1_024                  // messages after which one that only counts goes out at once
	receiptBytes = 64 << 10               // of entries, and no more than half an envelope
)

// tally is what a peer has to be told of the messages that came by a connection. Under conn.tallyMu.
type tally struct {
	handled, told uint64
	refused       map[refusedMessages]int // count 0 and text left out; the place in entries
	entries       []refusedMessages
	bytes         int
	more          uint64
	stop          func() bool // of the timer; nil: none runs
}

// refuse notes one message.
func (t *tally) refuse(one refusedMessages, limit int) {
	key := one
	key.text = ""
	if i, ok := t.refused[key]; ok {
		t.entries[i].count++
		return
	}
	if len(t.entries) >= maxRefused || t.bytes+one.size() > limit {
		t.more++
		return
	}
	if t.refused == nil {
		t.refused = make(map[refusedMessages]int)
	}
	t.refused[key] = len(t.entries)
	one.count = 1
	t.entries = append(t.entries, one)
	t.bytes += one.size()
}

// take is the next receipt; false: there is nothing to tell. Without all it only counts.
func (t *tally) take(all bool) (receipt, bool) {
	if !all {
		t.told = t.handled
		return receipt{handled: t.handled}, true
	}
	if t.handled == t.told && len(t.entries) == 0 && t.more == 0 {
		return receipt{}, false
	}
	out := receipt{handled: t.handled, more: t.more, refused: t.entries}
	t.told, t.more, t.entries, t.bytes = t.handled, 0, nil, 0
	clear(t.refused)
	return out, true
}

func (t *tally) stopTimer() {
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// handled notes n messages of a frame that await no answer.
func (c *conn) handled(n uint64) {
	if n == 0 {
		return
	}
	c.tallyMu.Lock()
	c.tally.handled += n
	many := c.tally.handled-c.tally.told >= receiptEvery
	c.scheduleReceipt()
	c.tallyMu.Unlock()
	if last := c.r.draining.Load(); many || last {
		c.sendReceipt(last)
	}
}

// refusedTell notes a message that awaits no answer and was refused.
func (c *conn) refusedTell(target, typ string, err error) {
	text := err.Error()
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	one := refusedMessages{target: target, typ: typ, sentinel: convert.SentinelToProto(err), text: strings.ToValidUTF8(text, "")}
	c.tallyMu.Lock()
	defer c.tallyMu.Unlock()
	c.tally.refuse(one, min(receiptBytes, c.r.limits.Envelope/2))
	c.scheduleReceipt()
}

// scheduleReceipt sets the timer, unless it runs or the link has ended. The caller holds c.tallyMu.
func (c *conn) scheduleReceipt() {
	if c.tally.stop == nil && !c.over.Load() {
		c.tally.stop = c.r.clock.AfterFunc(receiptPause, func() { c.sendReceipt(true) })
	}
}

// sendReceipt tells the peer what there is to tell, or, without all, only how far this side is. The lock
// is held over the send, so that receipts stay in order.
func (c *conn) sendReceipt(all bool) {
	c.tallyMu.Lock()
	defer c.tallyMu.Unlock()
	if all {
		c.tally.stopTimer()
	}
	if r, ok := c.tally.take(all); ok {
		if err := c.w.send(&outgoing{target: targetLink, msg: &r}, ofRuntime); err != nil {
			c.r.count("remote.receipt.lost") // the link has ended, or its peer does not read
		}
	}
}

// endReceipts stops the timer.
func (c *conn) endReceipts() {
	c.tallyMu.Lock()
	defer c.tallyMu.Unlock()
	c.tally.stopTimer()
}

// receipt takes what the peer says of this side's messages.
func (c *conn) receipt(data []byte) error {
	r, err := parseReceipt(data)
	if err != nil {
		return err
	}
	if err := c.w.receipt(&r); err != nil {
		return err
	}
	for i := range r.refused {
		c.reportRefused(&r.refused[i])
	}
	if r.more > 0 {
		c.lostTells(refusedMessages{count: r.more}, undelivered(fmt.Errorf("remote: member %s refused messages and did not say which: %w", c.peer.Member.ID, core.ErrOverloaded)))
	}
	return nil
}

func (c *conn) reportRefused(one *refusedMessages) {
	sentinel := convert.SentinelFromProto(one.sentinel)
	if sentinel == nil {
		sentinel = core.ErrUnsupported
	}
	c.lostTells(*one, undelivered(&refusedError{text: fmt.Sprintf("remote: refused by member %s: %s", c.peer.Member.ID, one.text), sentinel: sentinel}))
}

// refusedError is why a peer refused a message: the text is the peer's.
type refusedError struct {
	text     string
	sentinel error
}

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return e.sentinel }

// keepTells is how many messages of a connection without a receipt are remembered by name; of more only
// their number is known when the link ends.
const keepTells = 4_096

// tells counts the messages of one connection that await no answer, from the moment they are queued to
// the peer's receipt, and remembers the last of them. Not safe for concurrent use.
type tells struct {
	queued  uint64 // into frames
	handed  uint64 // to the link
	handled uint64 // by the peer, as it says
	refused uint64 // of those, as it says
	names   []tellName
}

// tellName is what is known of a message that was sent.
type tellName struct{ target, typ string }

// add notes one that was queued. The ring grows up to its bound; then the oldest are forgotten.
func (t *tells) add(target, typ string) {
	if t.queued-t.handled >= uint64(len(t.names)) && len(t.names) < keepTells {
		t.grow()
	}
	t.names[t.queued&uint64(len(t.names)-1)] = tellName{target, typ}
	t.queued++
}

func (t *tells) grow() {
	names := make([]tellName, max(64, 2*len(t.names)))
	for n := t.handled; n < t.queued; n++ {
		names[n&uint64(len(names)-1)] = t.names[n&uint64(len(t.names)-1)]
	}
	t.names = names
}

// open is the number of those that the link took and the peer has not reported.
func (t *tells) open() uint64 { return t.handed - t.handled }

// receipt takes a peer's report; a peer cannot report what it was not sent.
func (t *tells) receipt(r *receipt) error {
	sum := r.more
	for i := range r.refused {
		sum += min(r.refused[i].count, t.handed+1)
	}
	switch {
	case r.handled > t.handed || r.handled < t.handled:
		return errReceipt(fmt.Sprintf("for %d messages after one for %d, %d were sent", r.handled, t.handled, t.handed))
	case r.more > t.handed || sum > t.handed-t.refused:
		return errReceipt(fmt.Sprintf("for more refused messages than the %d that were sent", t.handed))
	}
	t.handled = r.handled
	t.refused += sum
	return nil
}

// unreported gives the messages of whose fate nothing is known at the end of the link, in order, and how
// many more there are whose names were forgotten.
func (t *tells) unreported() (named []tellName, more uint64) {
	first := t.handled
	if kept := uint64(len(t.names)); t.queued > kept {
		first = max(first, min(t.queued-kept, t.handed))
	}
	for n := first; n < t.handed; n++ {
		named = append(named, t.names[n&uint64(len(t.names)-1)])
	}
	return named, first - t.handled
}

// receipt takes a peer's report. An error ends the link.
func (w *writer) receipt(r *receipt) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tells.receipt(r)
}

// unreported reports what of a link that has ended may be lost: messages of users, and stops. The runtime
// repairs what else it sends.
func (c *conn) unreported(left lost, reason error) {
	err := core.WithDelivery(fmt.Errorf("remote: the link to member %s at %s ended before it was known to be handled: %w",
		c.peer.Member.ID, c.peer.Member.Address, unreachable(reason)), core.DeliveryUnknown)
	sums := map[tellName]uint64{}
	var order []tellName
	for _, name := range left.tells {
		switch systemType(name.typ) {
		case systemWatch, systemUnwatch, systemTerminated:
			continue
		}
		if sums[name]++; sums[name] == 1 {
			order = append(order, name)
		}
	}
	for _, name := range order {
		c.lostTells(refusedMessages{target: name.target, typ: name.typ, count: sums[name]}, err)
	}
	if left.moreTells > 0 {
		c.lostTells(refusedMessages{count: left.moreTells}, err)
	}
}

// lostTells makes a dead letter of messages that did not, or may not, have reached the peer's process.
func (c *conn) lostTells(m refusedMessages, err error) {
	c.r.sys.ReportDeadLetter(actor.DeadLetter{
		Target: core.PID{Address: c.peer.Member.Address, ID: m.target, Member: c.peer.Member.ID},
		Type:   m.typ, Count: int(min(m.count, 1<<31-1)), Err: err,
	})
}
