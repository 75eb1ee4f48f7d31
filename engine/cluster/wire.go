package cluster

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// The two messages of every call are written and read here by hand, straight into and out of the
// frame; a test holds them to the generated code.
const (
	typeGrainRequest  = "cluster.GrainRequest"
	typeGrainResponse = "cluster.GrainResponse"
	typeCancelCall    = "granary.CancelCall"
	typeTerminated    = "granary.ActivationsTerminated"
	typeLookup        = "granary.LookupRequest"
	typeProcess       = "granary.ProcessRequest"
	typeLookupAnswer  = "granary.LookupResponse"
	typeProcessAnswer = "granary.ProcessResponse"
)

// maxChain bounds how deep calls may wait for each other.
const maxChain = 64

// stamp names the view by which a message was sent.
type stamp struct {
	lineage string
	epoch   uint64
	hash    uint64
}

func stampOf(v *core.View) stamp {
	if v == nil {
		return stamp{}
	}
	return stamp{v.Lineage(), v.Epoch(), v.Hash()}
}

// wireRequest is a cluster.GrainRequest, outgoing or as it arrived. Incoming slices point into what
// was received.
type wireRequest struct {
	index      int32
	data       []byte
	codec      string
	method     []byte
	routed     bool // id and view are set
	id         core.Identity
	view       stamp
	remaining  time.Duration // 0: no deadline
	idempotent bool
	chain      []string
}

// WireType is the full name of the message.
func (*wireRequest) WireType() string { return typeGrainRequest }

// AppendWire appends the message.
func (r *wireRequest) AppendWire(b []byte) ([]byte, error) {
	b = appendVarint(b, 1, uint64(int64(r.index)))
	b = appendBytes(b, 2, r.data)
	b = appendString(b, 3, r.codec)
	if r.routed {
		b = appendString(b, 100, r.id.Key)
		b = appendString(b, 101, r.id.Kind)
		b = protowire.AppendTag(b, 102, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(r.view.size()))
		b = r.view.append(b)
	}
	b = appendBytes(b, 103, r.method)
	b = appendVarint(b, 105, uint64(r.remaining.Microseconds()))
	if r.idempotent {
		b = appendVarint(b, 106, 1)
	}
	for _, id := range r.chain {
		b = appendString(b, 107, id)
	}
	return b, nil
}

func (s stamp) append(b []byte) []byte {
	b = appendString(b, 1, s.lineage)
	b = appendVarint(b, 2, s.epoch)
	if s.hash != 0 {
		b = protowire.AppendTag(b, 3, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, s.hash)
	}
	return b
}

func (s stamp) size() int {
	n := 0
	if s.lineage != "" {
		n += 1 + protowire.SizeBytes(len(s.lineage))
	}
	if s.epoch != 0 {
		n += 1 + protowire.SizeVarint(s.epoch)
	}
	if s.hash != 0 {
		n += 1 + 8
	}
	return n
}

func (s *stamp) field(f field) error {
	switch f.num {
	case 1:
		return f.text(&s.lineage)
	case 2:
		return f.number(&s.epoch)
	case 3:
		return f.fixed(&s.hash)
	}
	return nil
}

// parseRequest reads a cluster.GrainRequest. The error wraps core.ErrInvalid.
func parseRequest(data []byte, r *wireRequest) error {
	if err := fields(data, r.field); err != nil {
		return fmt.Errorf("grain request: %w", err)
	}
	return nil
}

func (r *wireRequest) field(f field) error {
	r.routed = r.routed || f.num >= 100 && f.num <= 102
	switch f.num {
	case 1:
		return f.int32(&r.index)
	case 2:
		return f.bytes(&r.data)
	case 3:
		return f.text(&r.codec)
	case 100:
		return f.text(&r.id.Key)
	case 101:
		return f.text(&r.id.Kind)
	case 102:
		return f.message(r.view.field)
	case 103:
		return f.bytes(&r.method)
	case 105:
		return f.micros(&r.remaining)
	case 106:
		return f.flag(&r.idempotent)
	case 107:
		return r.link(f)
	}
	return nil
}

// link reads one identity of the chain.
func (r *wireRequest) link(f field) error {
	if len(r.chain) >= maxChain {
		return fmt.Errorf("more than %d calls wait for each other: %w", maxChain, core.ErrInvalid)
	}
	var id string
	err := f.text(&id)
	r.chain = append(r.chain, id)
	return err
}

// wireResponse is a cluster.GrainResponse.
type wireResponse struct {
	data  []byte
	codec string
	place core.Placement // zero: not told
}

// WireType is the full name of the message.
func (*wireResponse) WireType() string { return typeGrainResponse }

// AppendWire appends the message.
func (r *wireResponse) AppendWire(b []byte) ([]byte, error) {
	b = appendBytes(b, 1, r.data)
	b = appendString(b, 2, r.codec)
	if r.place != (core.Placement{}) {
		var buf [512]byte
		b = appendBytes(b, 100, appendPlacement(buf[:0], r.place))
	}
	return b, nil
}

func appendPlacement(b []byte, p core.Placement) []byte {
	var buf [384]byte
	pid := appendString(buf[:0], 1, p.PID.Address)
	pid = appendString(pid, 2, p.PID.ID)
	pid = appendString(pid, 100, string(p.PID.Member))
	b = appendBytes(b, 1, pid)
	if p.Token.IsZero() {
		return b
	}
	token := appendVarint(buf[:0], 1, p.Token.Epoch)
	return appendBytes(b, 2, appendVarint(token, 2, p.Token.Seq))
}

// parseResponse reads a cluster.GrainResponse. The error wraps core.ErrInvalid.
func parseResponse(data []byte, r *wireResponse) error {
	if err := fields(data, r.field); err != nil {
		return fmt.Errorf("grain response: %w", err)
	}
	return nil
}

func (r *wireResponse) field(f field) error {
	switch f.num {
	case 1:
		return f.bytes(&r.data)
	case 2:
		return f.text(&r.codec)
	case 100:
		return parsePlacement(f, &r.place)
	}
	return nil
}

// parsePlacement reads a granary.Placement.
func parsePlacement(f field, p *core.Placement) error {
	return f.message(func(f field) error {
		switch f.num {
		case 1:
			return parsePID(f, &p.PID)
		case 2:
			return parseToken(f, &p.Token)
		}
		return nil
	})
}

func parsePID(f field, p *core.PID) error {
	return f.message(func(f field) error {
		switch f.num {
		case 1:
			return f.text(&p.Address)
		case 2:
			return f.text(&p.ID)
		case 100:
			return f.text((*string)(&p.Member))
		}
		return nil
	})
}

func parseToken(f field, t *core.Token) error {
	return f.message(func(f field) error {
		switch f.num {
		case 1:
			return f.number(&t.Epoch)
		case 2:
			return f.number(&t.Seq)
		}
		return nil
	})
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendString(b []byte, num protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// parseCancel reads a granary.CancelCall. The error wraps core.ErrInvalid.
func parseCancel(data []byte) (number uint64, err error) {
	err = fields(data, func(f field) error {
		if f.num != 1 {
			return nil
		}
		return f.number(&number)
	})
	return number, err
}

// wireCancel is a granary.CancelCall.
type wireCancel struct{ number uint64 }

// WireType is the full name of the message.
func (*wireCancel) WireType() string { return typeCancelCall }

// AppendWire appends the message.
func (c *wireCancel) AppendWire(b []byte) ([]byte, error) { return appendVarint(b, 1, c.number), nil }
