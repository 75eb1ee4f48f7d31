package convert

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// field is one field of a message: value of an integer, data of what has a length.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	data   []byte // points into the message
}

// eachField calls use for the fields of a message in their order, until it fails. Groups and numbers
// of 32 bits have the number 0.
func eachField(b []byte, use func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.data, n = protowire.ConsumeBytes(b)
		default:
			f.number = 0
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		if err := use(f); err != nil {
			return err
		}
	}
	return nil
}

func malformed(n int) error {
	return fmt.Errorf("malformed message: %w: %w", core.ErrInvalid, protowire.ParseError(n))
}

// countFields counts the fields of that number, which must have least bytes each: so what is made for
// them is in proportion to what was sent.
func countFields(b []byte, number protowire.Number, least int) (count int, err error) {
	err = eachField(b, func(f field) error {
		if f.number != number {
			return nil
		}
		if count++; len(f.data) < least {
			return fmt.Errorf("field %d of %d bytes, want %d at least: %w", number, len(f.data), least, core.ErrInvalid)
		}
		return nil
	})
	return count, err
}

// pair is a field of a map: key and value, which point into b. A key must be there.
func pair(b []byte) (key, value []byte, err error) {
	err = eachField(b, func(f field) error {
		switch f.number {
		case 1:
			key = f.data
		case 2:
			value = f.data
		}
		return nil
	})
	if err == nil && len(key) == 0 {
		err = fmt.Errorf("entry without a key: %w", core.ErrInvalid)
	}
	return key, value, err
}

func appendHead(b []byte, number protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.BytesType), uint64(size))
}

func appendText(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return append(appendHead(b, number, len(s)), s...)
}

func appendNumber(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func appendFixed(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, number, protowire.Fixed64Type), v)
}

func appendNumbers(b []byte, number protowire.Number, list []uint64) []byte {
	if len(list) == 0 {
		return b
	}
	size := 0
	for _, v := range list {
		size += protowire.SizeVarint(v)
	}
	b = appendHead(b, number, size)
	for _, v := range list {
		b = protowire.AppendVarint(b, v)
	}
	return b
}

// numbers reads a packed list, of most numbers at most.
func numbers(list []uint64, f field, most int) ([]uint64, error) {
	if f.kind != protowire.BytesType || list != nil {
		return nil, fmt.Errorf("field %d is not one packed list: %w", f.number, core.ErrInvalid)
	}
	count := 0
	for _, c := range f.data {
		if c < 0x80 {
			count++
		}
	}
	if count == 0 && len(f.data) == 0 {
		return nil, nil
	}
	if count > most {
		return nil, fmt.Errorf("field %d: %d numbers, want at most %d: %w", f.number, count, most, core.ErrInvalid)
	}
	list = make([]uint64, 0, count)
	for b := f.data; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, malformed(n)
		}
		list, b = append(list, v), b[n:]
	}
	return list, nil
}

func appendFlag(b []byte, number protowire.Number, set bool) []byte {
	if !set {
		return b
	}
	return appendNumber(b, number, 1)
}

// appendPair begins field 1, an entry of a map under a key with a message of size bytes as value. The
// value is to follow.
func appendPair(b []byte, key string, size int) []byte {
	b = appendHead(b, 1, sizePair(key, size))
	b = append(appendHead(b, 1, len(key)), key...)
	return appendHead(b, 2, size)
}

func sizePair(key string, size int) int { return sizeField(1, len(key)) + sizeField(2, size) }

func sizeField(number protowire.Number, size int) int {
	return protowire.SizeTag(number) + protowire.SizeBytes(size)
}

func sizeText(number protowire.Number, s string) int {
	if s == "" {
		return 0
	}
	return sizeField(number, len(s))
}

func sizeNumber(number protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(number) + protowire.SizeVarint(v)
}
