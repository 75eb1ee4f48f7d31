package wireform

import (
	"bytes"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// Envelope is a granary.LookupRequest, LookupResponse, ProcessRequest or ProcessResponse. The
// former two have the view in front of the fields that all share. Errors travel as those of calls do.
type Envelope struct {
	Type      string
	View      *Stamp // only in those of lookups
	Message   core.Message
	Remaining time.Duration // only in requests
}

// WireType is the full name of the message.
func (w *Envelope) WireType() string { return w.Type }

// AppendWire appends the message.
func (w *Envelope) AppendWire(b []byte) ([]byte, error) {
	first := protowire.Number(1)
	if w.View != nil {
		b = protowire.AppendTag(b, first, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(w.View.size()))
		b = w.View.append(b)
		first++
	}
	b = appendString(b, first, w.Message.Type)
	b = appendBytes(b, first+1, w.Message.Data)
	return appendVarint(b, first+2, uint64(w.Remaining.Microseconds())), nil
}

// Parse reads what is after the name of the message. It copies the data, which outlives the frame.
func (w *Envelope) Parse(data []byte) error {
	if err := fields(data, w.field); err != nil {
		return fmt.Errorf("%s: %w", w.Type, err)
	}
	w.Message.Data = bytes.Clone(w.Message.Data)
	return nil
}

func (w *Envelope) field(f field) error {
	num := f.num
	if w.View != nil {
		if num == 1 {
			return f.message(w.View.field)
		}
		num--
	}
	switch num {
	case 1:
		return f.text(&w.Message.Type)
	case 2:
		return f.bytes(&w.Message.Data)
	case 3:
		return f.micros(&w.Remaining)
	}
	return nil
}

// Ends is a granary.ActivationsTerminated.
type Ends struct{ Ends []core.Activation }

// WireType is the full name of the message.
func (*Ends) WireType() string { return TypeTerminated }

// AppendWire appends the message.
func (w *Ends) AppendWire(b []byte) ([]byte, error) {
	var end, place []byte
	for _, a := range w.Ends {
		end = appendString(end[:0], 1, a.Identity.Key)
		end = appendString(end, 2, a.Identity.Kind)
		place = appendPlacement(place[:0], a.Placement)
		b = appendBytes(b, 1, appendBytes(end, 3, place))
	}
	return b, nil
}

// EachEnd reads a granary.ActivationsTerminated and calls each with each end in it, up to the first that
// is malformed. It keeps none, so that a message of many empty ends costs no memory.
func EachEnd(data []byte, each func(core.Activation)) error {
	return fields(data, func(f field) error {
		if f.num != 1 {
			return nil
		}
		var a core.Activation
		if err := parseEnd(f, &a); err != nil {
			return err
		}
		each(a)
		return nil
	})
}

func parseEnd(f field, a *core.Activation) error {
	return f.message(func(f field) error {
		switch f.num {
		case 1:
			return f.text(&a.Identity.Key)
		case 2:
			return f.text(&a.Identity.Kind)
		case 3:
			return parsePlacement(f, &a.Placement)
		}
		return nil
	})
}
