package cluster

import (
	"fmt"
	"math"
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

func (s *stamp) field(num protowire.Number, value uint64, data []byte) {
	switch num {
	case 1:
		s.lineage = string(data)
	case 2:
		s.epoch = value
	case 3:
		s.hash = value
	}
}

// parseRequest reads a cluster.GrainRequest. The error wraps core.ErrInvalid.
func parseRequest(data []byte, r *wireRequest) error {
	var inner error
	err := fields(data, func(num protowire.Number, value uint64, data []byte) {
		switch num {
		case 1:
			r.index = int32(value)
		case 2:
			r.data = data
		case 3:
			r.codec = string(data)
		case 100:
			r.routed, r.id.Key = true, string(data)
		case 101:
			r.routed, r.id.Kind = true, string(data)
		case 102:
			r.routed = true
			inner = fields(data, r.view.field)
		case 103:
			r.method = data
		case 105:
			r.remaining = micros(value)
		case 106:
			r.idempotent = value != 0
		case 107:
			if len(r.chain) < maxChain {
				r.chain = append(r.chain, string(data))
			} else {
				inner = fmt.Errorf("more than %d calls wait for each other: %w", maxChain, core.ErrInvalid)
			}
		}
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return fmt.Errorf("grain request: %w", err)
	}
	return nil
}

// chainOf reads only the identities that wait for a request.
func chainOf(data []byte, each func(id []byte)) {
	_ = fields(data, func(num protowire.Number, _ uint64, data []byte) { // what is malformed is refused on the turn
		if num == 107 {
			each(data)
		}
	})
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
	var inner error
	err := fields(data, func(num protowire.Number, _ uint64, data []byte) {
		switch num {
		case 1:
			r.data = data
		case 2:
			r.codec = string(data)
		case 100:
			inner = parsePlacement(data, &r.place)
		}
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return fmt.Errorf("grain response: %w", err)
	}
	return nil
}

func parsePlacement(data []byte, p *core.Placement) error {
	var inner error
	err := fields(data, func(num protowire.Number, _ uint64, data []byte) {
		switch num {
		case 1:
			inner = fields(data, func(num protowire.Number, _ uint64, data []byte) {
				switch num {
				case 1:
					p.PID.Address = string(data)
				case 2:
					p.PID.ID = string(data)
				case 100:
					p.PID.Member = core.MemberID(data)
				}
			})
		case 2:
			inner = fields(data, func(num protowire.Number, value uint64, _ []byte) {
				switch num {
				case 1:
					p.Token.Epoch = value
				case 2:
					p.Token.Seq = value
				}
			})
		}
	})
	if err == nil {
		err = inner
	}
	return err
}

// fields walks the fields of one message. What it does not know is skipped, as protobuf demands.
func fields(data []byte, each func(num protowire.Number, value uint64, data []byte)) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return malformed(n)
		}
		data = data[n:]
		var value uint64
		var bytes []byte
		switch typ {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			value, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return malformed(n)
		}
		data = data[n:]
		each(num, value, bytes)
	}
	return nil
}

func malformed(n int) error {
	return fmt.Errorf("%w: %w", protowire.ParseError(n), core.ErrInvalid)
}

func micros(v uint64) time.Duration {
	if v > uint64(math.MaxInt64/int64(time.Microsecond)) {
		return 0
	}
	return time.Duration(v) * time.Microsecond
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

// parseCancel reads a granary.CancelCall.
func parseCancel(data []byte) (number uint64, err error) {
	err = fields(data, func(num protowire.Number, value uint64, _ []byte) {
		if num == 1 {
			number = value
		}
	})
	return number, err
}

// wireCancel is a granary.CancelCall.
type wireCancel struct{ number uint64 }

// WireType is the full name of the message.
func (*wireCancel) WireType() string { return typeCancelCall }

// AppendWire appends the message.
func (c *wireCancel) AppendWire(b []byte) ([]byte, error) { return appendVarint(b, 1, c.number), nil }
