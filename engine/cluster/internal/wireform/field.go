package wireform

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// field is one field of a message as it arrived. Its methods store its value, or refuse it when it is
// of another type than the schema says; the errors wrap core.ErrInvalid.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64 // of a number
	data  []byte // of all else; points into the message
}

// fields walks the fields of one message, up to the first error. Those that each does not know are
// skipped, as protobuf demands.
func fields(data []byte, each func(f field) error) error {
	for len(data) > 0 {
		f, n := nextField(data)
		if n < 0 {
			return fmt.Errorf("%w: %w", protowire.ParseError(n), core.ErrInvalid)
		}
		data = data[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

// nextField reads the first field of data and its length; negative: what is wrong.
func nextField(data []byte) (f field, length int) {
	var n, m int
	if f.num, f.typ, n = protowire.ConsumeTag(data); n < 0 {
		return f, n
	}
	switch f.typ {
	case protowire.VarintType:
		f.value, m = protowire.ConsumeVarint(data[n:])
	case protowire.Fixed64Type:
		f.value, m = protowire.ConsumeFixed64(data[n:])
	case protowire.BytesType:
		f.data, m = protowire.ConsumeBytes(data[n:])
	default:
		m = protowire.ConsumeFieldValue(f.num, f.typ, data[n:])
	}
	if m < 0 {
		return f, m
	}
	return f, n + m
}

func (f field) is(typ protowire.Type) error {
	if f.typ != typ {
		return fmt.Errorf("field %d is of wire type %d, want %d: %w", f.num, f.typ, typ, core.ErrInvalid)
	}
	return nil
}

// bytes does not copy.
func (f field) bytes(to *[]byte) error {
	*to = f.data
	return f.is(protowire.BytesType)
}

func (f field) text(to *string) error {
	*to = string(f.data)
	return f.is(protowire.BytesType)
}

func (f field) message(each func(f field) error) error {
	if err := f.is(protowire.BytesType); err != nil {
		return err
	}
	return fields(f.data, each)
}

func (f field) number(to *uint64) error {
	*to = f.value
	return f.is(protowire.VarintType)
}

func (f field) int32(to *int32) error {
	*to = int32(f.value)
	return f.is(protowire.VarintType)
}

func (f field) flag(to *bool) error {
	*to = f.value != 0
	return f.is(protowire.VarintType)
}

func (f field) fixed(to *uint64) error {
	*to = f.value
	return f.is(protowire.Fixed64Type)
}

// micros reads a number of microseconds; one beyond what a duration holds is no limit at all.
func (f field) micros(to *time.Duration) error {
	*to = 0
	if f.value <= uint64(math.MaxInt64/int64(time.Microsecond)) {
		*to = time.Duration(f.value) * time.Microsecond
	}
	return f.is(protowire.VarintType)
}
