package remote

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
)

// A frame is a remote.RemoteMessage with a MessageBatch: three tables of names and the envelopes that
// refer to them by index. The order of fields in a protobuf message is free, so a name is written when
// it is first used, just before its envelope, and nothing is moved. Lengths that are not known ahead
// are varints padded to a fixed width.

// Tags: field number and wire type.
const (
	tagBatch      = 1<<3 | 2
	tagConnect    = 2<<3 | 2
	tagResponse   = 3<<3 | 2
	tagDisconnect = 4<<3 | 2

	tagTypeName = 1<<3 | 2
	tagTarget   = 2<<3 | 2
	tagEnvelope = 3<<3 | 2
	tagSender   = 4<<3 | 2

	tagTypeID     = 1<<3 | 0
	tagData       = 2<<3 | 2
	tagTargetIdx  = 3<<3 | 0
	tagSenderIdx  = 4<<3 | 0
	tagSerializer = 5<<3 | 0
	tagHeader     = 6<<3 | 2
	tagRequestID  = 100<<3 | 0
	tagReplyTo    = 101<<3 | 0

	tagAddress = 1<<3 | 2
	tagID      = 2<<3 | 2
	tagMember  = 100<<3 | 2

	tagHeaderEntry = 1<<3 | 2
	tagKey         = 1<<3 | 2
	tagValue       = 2<<3 | 2
)

// Widths of padded lengths: 3 bytes for an envelope and its message, 4 for the batch.
const (
	lengthBytes = 3
	lengthBits  = 7 * lengthBytes
	frameBytes  = 4
	frameBits   = 7 * frameBytes
	frameHead   = 1 + frameBytes
)

// tagSettled is the one field of a DisconnectRequest.
const tagSettled = 100<<3 | 0

// frameDisconnect is a RemoteMessage with an empty DisconnectRequest, frameSettled one that says that
// nothing is awaited.
const (
	frameDisconnect = string(rune(tagDisconnect)) + "\x00"
	frameSettled    = string(rune(tagDisconnect)) + "\x03\xa0\x06\x01"
)

// Encoder is a message that writes itself into the frame, without a message of protobuf between.
type Encoder interface {
	// WireType is the full name of the message type that the bytes are of.
	WireType() string
	// AppendWire appends the message in binary form to b. It is called under the lock of the link,
	// once for each send, and must not keep b.
	AppendWire(b []byte) ([]byte, error)
}

// outgoing is one message on its way into a frame.
type outgoing struct {
	target    string // process ID at the peer
	msg       any
	sender    string // process ID here; empty: nobody
	header    map[string]string
	requestID uint64
	replyTo   uint64
}

// builder makes frames for one peer, one after the other. Not safe for concurrent use.
type builder struct {
	limits *Limits
	here   string // address of this side: of senders
	there  string // address of the peer: of targets

	buf                     []byte // frameHead bytes, then the fields of the batch
	count                   int
	types, targets, senders table
}

// table numbers names in the order of their first use.
type table struct {
	index map[string]int32
	last  string // the name used last, and its number
	num   int32
}

func (t *table) find(name string) (int32, bool) {
	if len(t.index) > 0 && name == t.last {
		return t.num, true
	}
	i, ok := t.index[name]
	if ok {
		t.last, t.num = name, i
	}
	return i, ok
}

func (t *table) add(name string) int32 {
	if t.index == nil {
		t.index = make(map[string]int32)
	}
	i := int32(len(t.index))
	t.index[name] = i
	t.last, t.num = name, i
	return i
}

func (t *table) clear() {
	clear(t.index)
	t.last, t.num = "", 0
}

// start begins a frame in buf, which is empty.
func (f *builder) start(buf []byte) {
	f.buf = append(buf, tagBatch, 0, 0, 0, 0)
	f.count = 0
	f.types.clear()
	f.targets.clear()
	f.senders.clear()
}

// full reports whether the frame should go out before more is added.
func (f *builder) full() bool {
	return f.count >= f.limits.Batch || len(f.buf) >= f.limits.Gather || len(f.types.index) >= f.limits.Types
}

// finish completes the frame and returns it; the next begins with start.
func (f *builder) finish() []byte {
	buf := f.buf
	putPadded(buf[1:frameHead], len(buf)-frameHead)
	f.buf = nil
	return buf
}

// add appends o. On an error the frame is as it was.
func (f *builder) add(o *outgoing) error {
	typ, err := wireType(o.msg)
	if err != nil {
		return err
	}
	if err := f.check(o, typ); err != nil {
		return err
	}
	b := f.buf
	typeID, known := f.types.find(typ)
	if !known {
		if !utf8.ValidString(typ) { // the peer would take it for a broken frame and end the link
			return fmt.Errorf("type name %.40q is not UTF-8: %w", typ, core.ErrInvalid)
		}
		b = appendString(append(b, tagTypeName), typ)
	}
	target, knownTarget := f.targets.find(o.target)
	if !knownTarget {
		b = appendPID(append(b, tagTarget), f.there, o.target)
	}
	sender, knownSender := int32(-1), true
	if o.sender != "" {
		if sender, knownSender = f.senders.find(o.sender); !knownSender {
			b = appendPID(append(b, tagSender), f.here, o.sender)
			sender = int32(len(f.senders.index))
		}
	}
	if !known {
		typeID = int32(len(f.types.index))
	}
	if !knownTarget {
		target = int32(len(f.targets.index))
	}
	if b, err = f.appendEnvelope(b, o, typeID, target, sender+1); err != nil {
		return err
	}
	// Only now, so that a message that cannot be encoded leaves no name behind.
	if !known {
		f.types.add(typ)
	}
	if !knownTarget {
		f.targets.add(o.target)
	}
	if !knownSender {
		f.senders.add(o.sender)
	}
	f.buf = b
	f.count++
	return nil
}

func (f *builder) appendEnvelope(b []byte, o *outgoing, typeID, target, sender int32) ([]byte, error) {
	b = append(b, tagEnvelope, 0, 0, 0)
	body := len(b)
	if typeID != 0 {
		b = protowire.AppendVarint(append(b, tagTypeID), uint64(typeID))
	}
	if target != 0 {
		b = protowire.AppendVarint(append(b, tagTargetIdx), uint64(target))
	}
	if sender != 0 {
		b = protowire.AppendVarint(append(b, tagSenderIdx), uint64(sender))
	}
	if len(o.header) > 0 {
		b = appendHeader(b, o.header)
	}
	if o.requestID != 0 {
		b = protowire.AppendVarint(protowire.AppendVarint(b, tagRequestID), o.requestID)
	}
	if o.replyTo != 0 {
		b = protowire.AppendVarint(protowire.AppendVarint(b, tagReplyTo), o.replyTo)
	}
	b = append(b, tagData, 0, 0, 0)
	data := len(b)
	b, err := appendMessage(b, o.msg, f.limits.Envelope)
	if err != nil {
		return nil, err
	}
	if n := len(b) - data; n > f.limits.Envelope {
		return nil, tooLarge(n, f.limits.Envelope)
	}
	putPadded(b[data-lengthBytes:data], len(b)-data)
	putPadded(b[body-lengthBytes:body], len(b)-body)
	return b, nil
}

func (f *builder) check(o *outgoing, typ string) error {
	l := f.limits
	switch {
	case typ == "" || len(typ) > l.Name:
		return fmt.Errorf("type name of %d bytes, want 1 to %d: %w", len(typ), l.Name, core.ErrInvalid)
	case len(o.target) > l.ProcessID || len(o.sender) > l.ProcessID:
		return fmt.Errorf("process ID of more than %d bytes: %w", l.ProcessID, core.ErrInvalid)
	case o.target == "" && o.replyTo == 0:
		return fmt.Errorf("the target has no process ID: %w", core.ErrInvalid)
	}
	return l.checkHeader(o.header)
}

func tooLarge(n, limit int) error {
	return fmt.Errorf("message of %d bytes, at most %d are allowed; send it in parts: %w", n, limit, core.ErrInvalid)
}

// wireType is the full name of msg's type on the wire.
func wireType(msg any) (string, error) {
	switch m := msg.(type) {
	case Encoder:
		return m.WireType(), nil
	case proto.Message:
		return string(m.ProtoReflect().Descriptor().FullName()), nil
	case *Inbound:
		return m.Type, nil
	case core.Message:
		return m.Type, nil
	}
	return "", fmt.Errorf("a %T cannot be sent to another member: want a message of protobuf, a remote.Encoder or a core.Message: %w",
		msg, core.ErrUnsupported)
}

func appendMessage(b []byte, msg any, limit int) ([]byte, error) {
	switch m := msg.(type) {
	case Encoder:
		return m.AppendWire(b)
	case proto.Message:
		if n := proto.Size(m); n > limit {
			return nil, tooLarge(n, limit)
		}
		return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	case *Inbound:
		return append(b, m.Data...), nil
	case core.Message:
		return append(b, m.Data...), nil
	}
	return b, nil // wireType has refused everything else
}

// appendPID appends the PID of a process at address, with its length. The member is left out: the
// handshake has bound both to the connection.
func appendPID(b []byte, address, id string) []byte {
	n := 1 + protowire.SizeBytes(len(address)) + 1 + protowire.SizeBytes(len(id))
	b = protowire.AppendVarint(b, uint64(n))
	b = appendString(append(b, tagAddress), address)
	return appendString(append(b, tagID), id)
}

func appendHeader(b []byte, h map[string]string) []byte {
	size := 0
	for k, v := range h {
		entry := 2 + protowire.SizeBytes(len(k)) + protowire.SizeBytes(len(v))
		size += 1 + protowire.SizeBytes(entry)
	}
	b = protowire.AppendVarint(append(b, tagHeader), uint64(size))
	for k, v := range h {
		entry := 2 + protowire.SizeBytes(len(k)) + protowire.SizeBytes(len(v))
		b = protowire.AppendVarint(append(b, tagHeaderEntry), uint64(entry))
		b = appendString(append(b, tagKey), k)
		b = appendString(append(b, tagValue), v)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// putPadded writes n as a varint that fills b.
func putPadded(b []byte, n int) {
	last := len(b) - 1
	for i := range last {
		b[i] = byte(n)&0x7f | 0x80
		n >>= 7
	}
	b[last] = byte(n) & 0x7f
}
