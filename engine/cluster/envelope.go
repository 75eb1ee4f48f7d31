package cluster

import (
	"bytes"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// wireEnvelope is a granary.LookupRequest, LookupResponse, ProcessRequest or ProcessResponse. The
// former two have the view in front of the fields that all share. Errors travel as those of calls do.
type wireEnvelope struct {
	typ       string
	view      *stamp // only in those of lookups
	message   core.Message
	remaining time.Duration // only in requests
}

// WireType is the full name of the message.
func (w *wireEnvelope) WireType() string { return w.typ }

// AppendWire appends the message.
func (w *wireEnvelope) AppendWire(b []byte) ([]byte, error) {
	first := protowire.Number(1)
	if w.view != nil {
		b = protowire.AppendTag(b, first, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(w.view.size()))
		b = w.view.append(b)
		first++
	}
	b = appendString(b, first, w.message.Type)
	b = appendBytes(b, first+1, w.message.Data)
	return appendVarint(b, first+2, uint64(w.remaining.Microseconds())), nil
}

// parse reads what is after the name of the message. It copies the data, which outlives the frame.
func (w *wireEnvelope) parse(data []byte) error {
	if err := fields(data, w.field); err != nil {
		return fmt.Errorf("%s: %w", w.typ, err)
	}
	w.message.Data = bytes.Clone(w.message.Data)
	return nil
}

func (w *wireEnvelope) field(f field) error {
	num := f.num
	if w.view != nil {
		if num == 1 {
			return f.message(w.view.field)
		}
		num--
	}
	switch num {
	case 1:
		return f.text(&w.message.Type)
	case 2:
		return f.bytes(&w.message.Data)
	case 3:
		return f.micros(&w.remaining)
	}
	return nil
}
