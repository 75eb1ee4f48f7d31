package remote

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// batch is a frame of messages, sliced and checked but not copied. It refers to the frame's bytes and
// is used again for the next frame.
type batch struct {
	types, targets, senders [][]byte
	envelopes               int
	body                    []byte
	present                 envelope // of each
}

// envelope is one message of a batch.
type envelope struct {
	typ, target, sender int32 // sender from 1; 0: nobody
	serializer          int32
	data, header        []byte
	requestID, replyTo  uint64
}

// errFrame is the reason of whatever is no protobuf.
func errFrame(what string) error { return violation("%s is not well formed", what) }

// frameBody splits a frame into the tag of what it carries and the bytes of it. A frame without any of
// the four payloads has the tag 0: it is ignored, as the wire line wants; more than one is refused.
func frameBody(b []byte) (tag uint64, body []byte, err error) {
	for len(b) > 0 {
		t, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return 0, nil, errFrame("a frame")
		}
		switch t {
		case tagBatch, tagConnect, tagResponse, tagDisconnect:
			if tag != 0 {
				return 0, nil, violation("a frame with two payloads")
			}
			v, m := protowire.ConsumeBytes(b[n:])
			if m < 0 {
				return 0, nil, errFrame("a frame")
			}
			tag, body, b = t, v, b[n+m:]
		default:
			m := skip(t, b[n:])
			if m < 0 {
				return 0, nil, errFrame("a frame")
			}
			b = b[n+m:]
		}
	}
	return tag, body, nil
}

// skip is the length of the value of an unknown field, or negative.
func skip(tag uint64, b []byte) int {
	num, typ := protowire.DecodeTag(tag)
	if num < 1 {
		return -1
	}
	return protowire.ConsumeFieldValue(num, typ, b)
}

// parse reads the tables of a batch and counts its envelopes.
func (p *batch) parse(body []byte, l *Limits) error {
	p.types, p.targets, p.senders = p.types[:0], p.targets[:0], p.senders[:0]
	p.envelopes, p.body = 0, body
	for b := body; len(b) > 0; {
		t, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errFrame("a batch")
		}
		b = b[n:]
		switch t {
		case tagTypeName, tagTarget, tagEnvelope, tagSender:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errFrame("a batch")
			}
			b = b[n:]
			if err := p.entry(t, v, l); err != nil {
				return err
			}
		default:
			n := skip(t, b)
			if n < 0 {
				return errFrame("a batch")
			}
			b = b[n:]
		}
	}
	return nil
}

func (p *batch) entry(tag uint64, v []byte, l *Limits) error {
	table, limit := &p.targets, l.Batch
	switch tag {
	case tagEnvelope:
		if p.envelopes++; p.envelopes > l.Batch {
			return violation("a batch of more than %d messages", l.Batch)
		}
		return nil
	case tagTypeName:
		if len(v) == 0 || len(v) > l.Name || !utf8.Valid(v) {
			return violation("a type name of %d bytes %.40q, want 1 to %d of UTF-8", len(v), v, l.Name)
		}
		table, limit = &p.types, l.Types
	case tagSender:
		table = &p.senders
	}
	if len(*table) >= limit {
		return violation("a table of more than %d names", limit)
	}
	*table = append(*table, v)
	return nil
}

// each calls f for every envelope, in order, until an error. What f gets is lent.
func (p *batch) each(f func(*envelope) error) error {
	e := &p.present
	defer func() { *e = envelope{} }()
	for b := p.body; len(b) > 0; {
		t, n := protowire.ConsumeVarint(b)
		b = b[n:]
		if t != tagEnvelope {
			b = b[skip(t, b):] // parse has been over it
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		b = b[n:]
		*e = envelope{}
		if err := e.parse(v); err != nil {
			return err
		}
		if err := p.check(e); err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// check holds the indices against the tables.
func (p *batch) check(e *envelope) error {
	switch {
	case e.typ < 0 || int(e.typ) >= len(p.types):
		return violation("type index %d, the table has %d", e.typ, len(p.types))
	case e.target < 0 || int(e.target) >= len(p.targets):
		return violation("target index %d, the table has %d", e.target, len(p.targets))
	case e.sender < 0 || int(e.sender) > len(p.senders):
		return violation("sender index %d, the table has %d", e.sender, len(p.senders))
	}
	return nil
}

func (e *envelope) parse(b []byte) error {
	for len(b) > 0 {
		t, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errFrame("an envelope")
		}
		b = b[n:]
		switch t {
		case tagData, tagHeader:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errFrame("an envelope")
			}
			b = b[n:]
			if t == tagData {
				e.data = v
			} else {
				e.header = v
			}
		case tagTypeID, tagTargetIdx, tagSenderIdx, tagSerializer, tagRequestID, tagReplyTo:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return errFrame("an envelope")
			}
			b = b[n:]
			e.number(t, v)
		default: // the request IDs of Proto.Actor nodes too, which mean nothing here
			n := skip(t, b)
			if n < 0 {
				return errFrame("an envelope")
			}
			b = b[n:]
		}
	}
	return nil
}

func (e *envelope) number(tag, v uint64) {
	switch tag {
	case tagTypeID:
		e.typ = int32(v)
	case tagTargetIdx:
		e.target = int32(v)
	case tagSenderIdx:
		e.sender = int32(v)
	case tagSerializer:
		e.serializer = int32(v)
	case tagRequestID:
		e.requestID = v
	case tagReplyTo:
		e.replyTo = v
	}
}

// pidView is a PID within a frame.
type pidView struct{ address, id, member []byte }

// parsePID slices a PID. What is wrong with it concerns the envelopes that use it, not the frame.
func parsePID(b []byte, l *Limits) (pidView, error) {
	var p pidView
	for len(b) > 0 {
		t, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return p, errPID("it is not well formed")
		}
		b = b[n:]
		switch t {
		case tagAddress, tagID, tagMember:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return p, errPID("it is not well formed")
			}
			b = b[n:]
			switch t {
			case tagAddress:
				p.address = v
			case tagID:
				p.id = v
			default:
				p.member = v
			}
		default:
			n := skip(t, b)
			if n < 0 {
				return p, errPID("it is not well formed")
			}
			b = b[n:]
		}
	}
	return p, p.check(l)
}

func errPID(text string) error { return fmt.Errorf("PID: %s: %w", text, core.ErrInvalid) }

func (p *pidView) check(l *Limits) error {
	switch {
	case len(p.id) > l.ProcessID || len(p.address) > l.ProcessID || len(p.member) > maxMemberID:
		return errPID("a part of it is too long")
	case !utf8.Valid(p.id) || !utf8.Valid(p.address) || !utf8.Valid(p.member):
		return errPID("it is not UTF-8")
	}
	for _, c := range p.id {
		if c < ' ' || c == 0x7f {
			return errPID("its process ID has a control character")
		}
	}
	return nil
}

// parseHeader reads a MessageHeader.
func parseHeader(b []byte, l *Limits) (map[string]string, error) {
	if len(b) > l.HeaderBytes+8*l.Headers {
		return nil, fmt.Errorf("headers of %d bytes, at most %d are allowed: %w", len(b), l.HeaderBytes, core.ErrInvalid)
	}
	var h map[string]string
	size := 0
	for len(b) > 0 {
		t, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, errHeader
		}
		b = b[n:]
		if t != tagHeaderEntry {
			if n = skip(t, b); n < 0 {
				return nil, errHeader
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return nil, errHeader
		}
		b = b[n:]
		key, value, err := parseHeaderEntry(v)
		if err != nil {
			return nil, err
		}
		if h == nil {
			h = make(map[string]string)
		}
		h[key] = value
		size += len(key) + len(value)
		if len(h) > l.Headers || size > l.HeaderBytes {
			return nil, fmt.Errorf("more than %d headers or %d bytes of them: %w", l.Headers, l.HeaderBytes, core.ErrInvalid)
		}
	}
	return h, nil
}

var errHeader = fmt.Errorf("headers are not well formed: %w", core.ErrInvalid)

func parseHeaderEntry(b []byte) (key, value string, err error) {
	for len(b) > 0 {
		t, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return "", "", errHeader
		}
		b = b[n:]
		if t != tagKey && t != tagValue {
			if n = skip(t, b); n < 0 {
				return "", "", errHeader
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 || !utf8.Valid(v) {
			return "", "", errHeader
		}
		b = b[n:]
		if t == tagKey {
			key = string(v)
		} else {
			value = string(v)
		}
	}
	return key, value, nil
}
