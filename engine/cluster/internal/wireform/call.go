package wireform

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// The two messages of every call are written and read here by hand, straight into and out of the
// frame; a test holds them to the generated code.
const (
	TypeGrainRequest  = "cluster.GrainRequest"
	TypeGrainResponse = "cluster.GrainResponse"
	TypeCancelCall    = "granary.CancelCall"
	TypeTerminated    = "granary.ActivationsTerminated"
	TypeLookup        = "granary.LookupRequest"
	TypeProcess       = "granary.ProcessRequest"
	TypeLookupAnswer  = "granary.LookupResponse"
	TypeProcessAnswer = "granary.ProcessResponse"
)

// MaxChain bounds how deep calls may wait for each other.
const MaxChain = 64

// Stamp names the view by which a message was sent.
type Stamp struct {
	Lineage string
	Epoch   uint64
	Hash    uint64
}

// StampOf is the stamp of v; zero for nil.
func StampOf(v *core.View) Stamp {
	if v == nil {
		return Stamp{}
	}
	return Stamp{v.Lineage(), v.Epoch(), v.Hash()}
}

// Request is a cluster.GrainRequest, outgoing or as it arrived. Incoming slices point into what
// was received.
type Request struct {
	Index      int32
	Data       []byte
	Codec      string
	Method     string // outgoing
	Name       []byte // Method as it arrived
	Routed     bool   // id and view are set
	ID         core.Identity
	View       Stamp
	Remaining  time.Duration // 0: no deadline
	Idempotent bool
	Chain      []string
	Locate     bool // only the place is asked for
}

// WireType is the full name of the message.
func (*Request) WireType() string { return TypeGrainRequest }

// AppendWire appends the message.
func (r *Request) AppendWire(b []byte) ([]byte, error) {
	b = appendVarint(b, 1, uint64(int64(r.Index)))
	b = appendBytes(b, 2, r.Data)
	b = appendString(b, 3, r.Codec)
	if r.Routed {
		b = appendString(b, 100, r.ID.Key)
		b = appendString(b, 101, r.ID.Kind)
		b = protowire.AppendTag(b, 102, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(r.View.size()))
		b = r.View.append(b)
	}
	b = appendString(b, 103, r.Method)
	b = appendVarint(b, 105, uint64(r.Remaining.Microseconds()))
	if r.Idempotent {
		b = appendVarint(b, 106, 1)
	}
	for _, id := range r.Chain {
		b = appendString(b, 107, id)
	}
	if r.Locate {
		b = appendVarint(b, 108, 1)
	}
	return b, nil
}

func (s Stamp) append(b []byte) []byte {
	b = appendString(b, 1, s.Lineage)
	b = appendVarint(b, 2, s.Epoch)
	if s.Hash != 0 {
		b = protowire.AppendTag(b, 3, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, s.Hash)
	}
	return b
}

func (s Stamp) size() int {
	n := 0
	if s.Lineage != "" {
		n += 1 + protowire.SizeBytes(len(s.Lineage))
	}
	if s.Epoch != 0 {
		n += 1 + protowire.SizeVarint(s.Epoch)
	}
	if s.Hash != 0 {
		n += 1 + 8
	}
	return n
}

func (s *Stamp) field(f field) error {
	switch f.num {
	case 1:
		return f.text(&s.Lineage)
	case 2:
		return f.number(&s.Epoch)
	case 3:
		return f.fixed(&s.Hash)
	}
	return nil
}

// ParseRequest reads a cluster.GrainRequest. The error wraps core.ErrInvalid.
func ParseRequest(data []byte, r *Request) error {
	if err := fields(data, r.field); err != nil {
		return fmt.Errorf("grain request: %w", err)
	}
	return nil
}

func (r *Request) field(f field) error {
	r.Routed = r.Routed || f.num >= 100 && f.num <= 102
	switch f.num {
	case 1:
		return f.int32(&r.Index)
	case 2:
		return f.bytes(&r.Data)
	case 3:
		return f.text(&r.Codec)
	case 100:
		return f.text(&r.ID.Key)
	case 101:
		return f.text(&r.ID.Kind)
	case 102:
		return f.message(r.View.field)
	case 103:
		return f.bytes(&r.Name)
	case 105:
		return f.micros(&r.Remaining)
	case 106:
		return f.flag(&r.Idempotent)
	case 107:
		return r.link(f)
	case 108:
		return f.flag(&r.Locate)
	}
	return nil
}

// link reads one identity of the chain.
func (r *Request) link(f field) error {
	if len(r.Chain) >= MaxChain {
		return fmt.Errorf("more than %d calls wait for each other: %w", MaxChain, core.ErrInvalid)
	}
	var id string
	err := f.text(&id)
	r.Chain = append(r.Chain, id)
	return err
}

// Response is a cluster.GrainResponse.
type Response struct {
	Data  []byte
	Codec string
	Place core.Placement // zero: not told
}

// WireType is the full name of the message.
func (*Response) WireType() string { return TypeGrainResponse }

// AppendWire appends the message.
func (r *Response) AppendWire(b []byte) ([]byte, error) {
	b = appendBytes(b, 1, r.Data)
	b = appendString(b, 2, r.Codec)
	if r.Place != (core.Placement{}) {
		var buf [512]byte
		b = appendBytes(b, 100, appendPlacement(buf[:0], r.Place))
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

// ParseResponse reads a cluster.GrainResponse. The error wraps core.ErrInvalid.
func ParseResponse(data []byte, r *Response) error {
	if err := fields(data, r.field); err != nil {
		return fmt.Errorf("grain response: %w", err)
	}
	return nil
}

func (r *Response) field(f field) error {
	switch f.num {
	case 1:
		return f.bytes(&r.Data)
	case 2:
		return f.text(&r.Codec)
	case 100:
		return parsePlacement(f, &r.Place)
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

// ParseCancel reads a granary.CancelCall. The error wraps core.ErrInvalid.
func ParseCancel(data []byte) (number uint64, err error) {
	err = fields(data, func(f field) error {
		if f.num != 1 {
			return nil
		}
		return f.number(&number)
	})
	return number, err
}

// Cancel is a granary.CancelCall.
type Cancel struct{ Number uint64 }

// WireType is the full name of the message.
func (*Cancel) WireType() string { return TypeCancelCall }

// AppendWire appends the message.
func (c *Cancel) AppendWire(b []byte) ([]byte, error) { return appendVarint(b, 1, c.Number), nil }
