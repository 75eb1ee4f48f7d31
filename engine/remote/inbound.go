package remote

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/connguard"
)

// Inbound is a message as it arrived: checked, of a known type, not yet decoded. The runtime decodes it
// on the target's turn; raw processes and whoever asked for a type that is not registered get it as it
// is. It belongs to its receiver.
type Inbound struct {
	Type      string // full name of the message type
	Data      []byte // the message in binary form
	From      *Peer  // who sent it; shared and read only
	RequestID uint64 // of an ask, its number at the asker, on this connection; 0: no ask

	typ *messageType
	ask inAsk
}

// inAsk is the actor.Replier of an ask that came by a connection: whoever answers twice, or answers and
// then fails, is heard once. Of a message of a client it knows what that takes of the client's share.
type inAsk struct {
	c         *conn
	recursion int32         // of the Inbound; here it takes no room. takenOver: it is in a Kept now
	state     atomic.Uint32 // answeredBit, and what is held, in units
}

// answeredBit of inAsk.state; below it are shareUnits.
const (
	headerCost  = 128 // bytes that a header of a message takes beside its text
	answeredBit = 1 << 31
	shareUnit   = 256 // bytes; one unit is for what surrounds a message
	takenOver   = -1  // inAsk.recursion
)

// first reports whether the message is answered, or refused, for the first time.
func (a *inAsk) first() bool { return a.state.Or(answeredBit)&answeredBit == 0 }

// hold counts a message of size bytes against the share of its client; false: there is no room.
func (a *inAsk) hold(s *connguard.Share, size int) bool {
	units := 1 + (size+shareUnit-1)/shareUnit
	if !s.Room(units * shareUnit) {
		return false
	}
	s.Take(units * shareUnit)
	a.state.Store(uint32(units))
	return true
}

// release gives back what hold took.
func (a *inAsk) release() {
	if a.c == nil || a.c.share == nil {
		return
	}
	if units := a.state.And(answeredBit) &^ answeredBit; units > 0 {
		a.c.share.Give(int(units) * shareUnit)
	}
}

// Reply answers by the connection, the first time.
func (a *inAsk) Reply(id uint64, msg any, err error) {
	if a.first() {
		a.release()
		a.c.Reply(id, msg, err)
	}
}

// Decode makes the message of the registered type. A message for a raw process, and an answer of a type
// that is not registered, are not decoded: the result is the Inbound itself.
func (in *Inbound) Decode() (any, error) {
	if in.typ == nil {
		return in, nil
	}
	if in.RequestID == 0 {
		in.ask.release()
	}
	return in.typ.decode(in.Data, int(in.ask.recursion))
}

// Undelivered tells the member that sent a message of which no answer is awaited that it will not be
// handled, the first time. An ask is answered instead.
func (in *Inbound) Undelivered(target core.PID, err error) {
	if in.RequestID == 0 && in.ask.c != nil && in.ask.first() {
		in.ask.release()
		in.ask.c.r.count("remote.undelivered")
		in.ask.c.refusedTell(target.ID, in.Type, err)
	}
}

// Size is the number of bytes that the message holds, for mailboxes bounded in bytes.
func (in *Inbound) Size() int { return len(in.Data) + len(in.Type) }

// Release says that Data is not used any more. It is optional, but for a raw process that takes messages
// of clients of which no answer is awaited: until then they count as held for the client.
func (in *Inbound) Release() {
	in.Data = nil
	if in.RequestID == 0 {
		in.ask.release()
	}
}

// smallMessage is how many bytes find room beside their Inbound, in one allocation of 128 bytes.
const smallMessage = 48

// Kept is an Inbound with room for a small message. A raw process has it by value in what it makes of a
// message, so that the two are one allocation. It must not be copied.
type Kept struct {
	Inbound
	room [smallMessage]byte
}

// TakeOver moves in to k; the result answers in reply's place. It is called once, by the Send of in's target,
// after which nothing uses in or reply any more: they carry the next message. If Send returns an error, that is
// the answer, and nothing uses k.
func (k *Kept) TakeOver(in *Inbound, reply actor.Replier) actor.Replier {
	k.From, k.RequestID, k.typ = in.From, in.RequestID, in.typ
	if k.Type, k.Data = in.Type, in.Data; len(in.Data) <= smallMessage {
		k.fill(in.Type, in.Data)
	}
	k.ask.c, k.ask.recursion = in.ask.c, in.ask.recursion
	k.ask.state.Store(in.ask.state.Load())
	in.ask.recursion = takenOver
	if reply == &in.ask {
		return &k.ask
	}
	return reply
}

// fill copies data out of the frame, so that a slow receiver holds its own bytes only.
func (k *Kept) fill(typ string, data []byte) {
	if k.Type = typ; len(data) > smallMessage {
		k.Data = slices.Clone(data)
		return
	}
	k.Data = k.room[:copy(k.room[:], data):len(data)]
}

// newInbound copies data as fill does.
func newInbound(typ string, data []byte) *Inbound {
	if len(data) <= smallMessage {
		k := &Kept{}
		k.fill(typ, data)
		return &k.Inbound
	}
	return &Inbound{Type: typ, Data: slices.Clone(data)}
}

// typeNil is the type of an answer that is nil. No message has it.
const typeNil = "granary.Nil"

// inType is an entry of a frame's table of types.
type inType struct {
	name   string
	typ    *messageType // nil: not registered
	system system
}

// inTarget is a process addressed by a peer.
type inTarget struct {
	pid core.PID
	raw map[string]bool // types that it takes as bytes
	of  *rawTargets     // that raw was found in
	err error           // why nothing is delivered to it
}

// inSender is a process of the peer that sent something.
type inSender struct {
	ref *actor.Ref
	err error
}

// Bounds of what a reader remembers of its peer's names.
const (
	keepNames       = 8_192
	keepClientNames = 64 // of a client: there may be many
	keepNameSize    = 256
)

// names is how many names of the peer are remembered.
func (c *conn) names() int {
	if c.peer.Client {
		return keepClientNames
	}
	return keepNames
}

// reader routes the frames of one connection. Used by one goroutine.
type reader struct {
	batch   batch
	types   []inType
	names   map[string]string // of types that are not registered
	targets map[string]*inTarget
	senders map[string]*inSender
	tells   uint64 // messages of the present frame that await no answer
	lent    *Kept  // for the next message to a raw process, if the last one was taken over
}

// lend is what carries a message to a raw process.
func (in *reader) lend(typ string, data []byte) *Kept {
	k := in.lent
	if in.lent = nil; k == nil {
		k = &Kept{}
	}
	k.fill(typ, data)
	return k
}

// receive handles one frame. An error ends the link.
func (c *conn) receive(frame []byte) (err error) {
	defer func() {
		if v := recover(); v != nil { // of a raw process; the frame itself is checked
			c.r.log.Error("remote: panic while a frame was handled", "member", c.peer.Member.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("remote: panic while a frame was handled: %v", v)
		}
	}()
	tag, body, err := frameBody(frame)
	if err != nil {
		return err
	}
	switch tag {
	case tagBatch:
		if err := c.in.batch.parse(body, c.r.limits); err != nil {
			return err
		}
		c.in.resolveTypes(c.r.cfg.Types, c.names())
		c.in.tells = 0
		err := c.in.batch.each(c.handle)
		c.in.forget(len(frame))
		c.handled(c.in.tells)
		return err
	case tagDisconnect:
		return c.leave(body)
	case tagConnect, tagResponse:
		return violation("a second handshake")
	}
	return nil // of a newer version: ignored
}

// forget lets go of a frame of n bytes, unless it is small: its tables refer to it until the next.
func (in *reader) forget(n int) {
	if n > keepReadable {
		in.batch, in.types = batch{}, nil
	}
}

func (in *reader) resolveTypes(t *Types, keep int) {
	in.types = in.types[:0]
	for _, name := range in.batch.types {
		if typ := t.find(name); typ != nil {
			in.types = append(in.types, inType{name: typ.name, typ: typ})
			continue
		}
		s := in.intern(name, keep)
		in.types = append(in.types, inType{name: s, system: systemType(s)})
	}
}

// intern is name as a string that is shared by the messages of the connection.
func (in *reader) intern(name []byte, keep int) string {
	if s, ok := in.names[string(name)]; ok {
		return s
	}
	s := string(name)
	if len(in.names) >= keep/8 {
		clear(in.names)
	}
	if in.names == nil {
		in.names = make(map[string]string)
	}
	in.names[s] = s
	return s
}

// handle routes one message. An error ends the link; what concerns the message alone is answered.
func (c *conn) handle(e *envelope) error {
	t := &c.in.types[e.typ]
	if c.over.Load() { // of a peer that was blocked meanwhile, for instance
		return errDisconnected
	}
	if e.replyTo != 0 {
		c.answered(e, t)
		return c.parted()
	}
	if t.system == systemReceipt {
		if err := c.receipt(e.data); err != nil {
			return err
		}
		return c.parted()
	}
	if e.requestID == 0 {
		c.in.tells++
	}
	if err := c.deliver(e, t); err != nil {
		c.refused(e, t.name, err)
	}
	return nil
}

// deliver hands one message to its target. An error means that it was not.
func (c *conn) deliver(e *envelope, t *inType) error {
	if e.serializer != 0 {
		return fmt.Errorf("serializer %d: only 0, protobuf, is accepted: %w", e.serializer, core.ErrUnsupported)
	}
	if len(e.data) > c.r.limits.Envelope {
		return tooLarge(len(e.data), c.r.limits.Envelope)
	}
	to := c.target(c.in.batch.targets[e.target])
	if to.err != nil {
		return to.err
	}
	if t.system != notSystem {
		return c.deliverSystem(to.pid, t, e.data)
	}
	raw := to.raw[t.name]
	if t.typ == nil && !raw {
		return fmt.Errorf("%s: %w", t.name, ErrUnknownType)
	}
	if err := c.r.cfg.Authorize(*c.peer, to.pid.ID, t.name); err != nil {
		return err
	}
	env := actor.Envelope{}
	if e.sender != 0 {
		from := c.sender(c.in.batch.senders[e.sender-1])
		if from.err != nil {
			return from.err
		}
		env.Sender = from.ref
	}
	if c.share != nil && !c.share.Room(len(e.data)+len(e.header)) {
		return errNoShare // headers are larger when they have been read
	}
	if e.header != nil {
		h, err := parseHeader(e.header, c.r.limits)
		if err != nil {
			return err
		}
		env.Header = h
	}
	size := len(e.data) + len(e.header) + len(env.Header)*headerCost
	if !raw {
		in := newInbound(t.name, e.data)
		in.typ = t.typ
		return c.hand(e, in, env, to.pid, size)
	}
	k := c.in.lend(t.name, e.data)
	err := c.hand(e, &k.Inbound, env, to.pid, size)
	if k.ask.recursion == takenOver {
		*k = Kept{}
		c.in.lent = k
	}
	return err
}

// hand is the end of deliver, for a message that takes size bytes of its client's share.
func (c *conn) hand(e *envelope, in *Inbound, env actor.Envelope, to core.PID, size int) error {
	in.From, in.RequestID, in.ask.recursion = c.peer, e.requestID, int32(c.r.limits.Recursion)
	env.Message = in
	if e.requestID == 0 {
		in.ask.c = c
		if c.share != nil && !in.ask.hold(c.share, size) {
			return errNoShare
		}
		if err := c.r.sys.Deliver(to, env); err != nil {
			in.Undelivered(to, err) // the runtime has reported it
		}
		return nil
	}
	ask := &in.ask
	if len(e.data) > smallMessage && in.typ != nil {
		ask = new(inAsk) // so that a late answer does not hold the bytes of the question
	}
	ask.c = c
	if c.share != nil && !ask.hold(c.share, size) {
		return errNoShare
	}
	env.Reply, env.ReplyID = ask, e.requestID
	c.open.Add(1)
	err := c.r.sys.Deliver(to, env)
	if err != nil {
		c.open.Add(-1) // refused answers it
		ask.release()
	}
	return err
}

// errNoShare refuses what a client sends while too much is held for it, or for all.
var errNoShare = core.Retry(fmt.Errorf("too much is held for clients (Limits.ClientBytes and ClientConnectionBytes): %w", core.ErrBusy), shareRetry)

// shareRetry is what such a client is told to wait.
const shareRetry = 50 * time.Millisecond

// target finds out who is addressed by a PID of the frame.
func (c *conn) target(b []byte) *inTarget {
	raw := c.r.raw.Load()
	if t := c.in.targets[string(b)]; t != nil && t.of == raw {
		return t
	}
	t := &inTarget{of: raw}
	p, err := parsePID(b, c.r.limits)
	switch own := &c.r.cfg; {
	case err != nil:
		t.err = err
	case len(p.id) == 0:
		t.err = errPID("it has no process ID")
	case len(p.member) > 0 && string(p.member) != string(own.Member):
		t.err = fmt.Errorf("the target is of member %q, this is %q: %w", p.member, own.Member, core.ErrNotOwner)
	case len(p.address) > 0 && string(p.address) != c.r.address:
		t.err = fmt.Errorf("the target is at %q, this is %q: nothing is passed on: %w", p.address, c.r.address, core.ErrNotOwner)
	default:
		t.pid = core.PID{Address: c.r.address, ID: string(p.id), Member: own.Member}
		t.raw = raw.of(t.pid.ID)
	}
	if c.in.targets == nil || len(c.in.targets) >= c.names() {
		c.in.targets = make(map[string]*inTarget)
	}
	if len(b) <= keepNameSize {
		c.in.targets[string(b)] = t
	}
	return t
}

// sender finds out who sent, which must be a process of the peer.
func (c *conn) sender(b []byte) *inSender {
	if s := c.in.senders[string(b)]; s != nil {
		return s
	}
	s := &inSender{}
	pid, err := c.peerPID(b)
	if err != nil {
		s.err = fmt.Errorf("sender: %w", err)
	} else {
		s.ref = c.r.sys.Ref(pid)
	}
	if c.in.senders == nil || len(c.in.senders) >= c.names() {
		c.in.senders = make(map[string]*inSender)
	}
	if len(b) <= keepNameSize {
		c.in.senders[string(b)] = s
	}
	return s
}

// peerPID reads the PID of a process of the peer. A client listens nowhere: its address says nothing.
func (c *conn) peerPID(b []byte) (core.PID, error) {
	p, err := parsePID(b, c.r.limits)
	if err != nil {
		return core.PID{}, err
	}
	m := &c.peer.Member
	switch {
	case len(p.id) == 0:
		return core.PID{}, errPID("it has no process ID")
	case len(p.member) > 0 && string(p.member) != string(m.ID):
		return core.PID{}, fmt.Errorf("PID of member %q on a connection of %q: %w", p.member, m.ID, ErrDenied)
	case !c.peer.Client && string(p.address) != m.Address:
		return core.PID{}, fmt.Errorf("PID at %q on a connection of the member at %q: %w", p.address, m.Address, ErrDenied)
	}
	pid := core.PID{Address: m.Address, ID: string(p.id), Member: m.ID}
	if c.peer.Client {
		pid.Address = string(p.address)
	}
	return pid, nil
}

// answered hands an answer to whoever asked. One that nobody waits for is dropped.
func (c *conn) answered(e *envelope, t *inType) {
	a, ok := c.w.answered(e.replyTo)
	if !ok {
		c.r.count("remote.answer.late")
		return
	}
	switch {
	case e.serializer != 0:
		a.reply.Reply(a.id, nil, core.WithDelivery(
			fmt.Errorf("remote: answer with serializer %d: %w", e.serializer, core.ErrUnsupported), core.Delivered))
		return
	case len(e.data) > c.r.limits.Envelope:
		a.reply.Reply(a.id, nil, core.WithDelivery(
			fmt.Errorf("remote: answer: %w", tooLarge(len(e.data), c.r.limits.Envelope)), core.Delivered))
		return
	case t.name == typeNil:
		a.reply.Reply(a.id, nil, nil)
		return
	}
	if err, is := c.r.cfg.Errors.DecodeError(t.name, e.data); is {
		a.reply.Reply(a.id, nil, err)
		return
	}
	in := newInbound(t.name, e.data)
	in.From, in.typ, in.ask.recursion = c.peer, t.typ, int32(c.r.limits.Recursion)
	a.reply.Reply(a.id, in, nil)
}

// refused says that a message did not reach its target: to the asker, or in the next receipt and the log.
func (c *conn) refused(e *envelope, typ string, err error) {
	c.r.count("remote.refused")
	err = undelivered(fmt.Errorf("remote: message for member %s: %w", c.r.cfg.Member, err))
	if e.requestID != 0 {
		c.open.Add(1)
		c.Reply(e.requestID, nil, err)
		return
	}
	if systemType(typ) == notSystem {
		p, _ := parsePID(c.in.batch.targets[e.target], c.r.limits) // what is wrong with it is err
		c.refusedTell(strings.ToValidUTF8(string(p.id), ""), typ, err)
	}
	if c.r.quiet.allow(c.r.clock.Now()) {
		c.r.log.LogAttrs(c.r.root, slog.LevelWarn, "remote: message refused",
			slog.String("member", string(c.peer.Member.ID)), slog.String("type", typ), slog.String("error", err.Error()))
	}
}

var (
	_ actor.Encoded       = (*Inbound)(nil)
	_ actor.Undeliverable = (*Inbound)(nil)
)
