package grain

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The codecs of arguments and results.
const (
	CodecProto = ""     // protobuf in binary form
	CodecJSON  = "json" // whatever is not a proto.Message
)

// maxDepth is how deep messages and JSON may nest.
const maxDepth = 64

// JSON is an argument or a result that is JSON already: the form in which plain values travel, also
// within one process. It is not modified.
type JSON []byte

// MarshalJSON is j itself; null if it is empty.
func (j JSON) MarshalJSON() ([]byte, error) {
	if len(j) == 0 {
		return []byte("null"), nil
	}
	return j, nil
}

// UnmarshalJSON keeps a copy of data.
func (j *JSON) UnmarshalJSON(data []byte) error {
	*j = append((*j)[:0], data...)
	return nil
}

// PrepareArg is arg as it is sent to a grain of this process: messages and scalars as they are,
// everything else as JSON, taken now, so that later changes by the caller are not seen. The error is
// of code InvalidArgument. The engine calls it once a call, by MethodSpec.Prepare, after its interceptors.
func PrepareArg(arg any) (any, error) {
	if asIs(arg) {
		return arg, nil
	}
	data, err := marshalJSON(arg)
	if err != nil {
		return nil, Errorf(InvalidArgument, "the argument: %w", err)
	}
	return JSON(data), nil
}

// EncodeArg appends the binary form of arg to b and names the codec. The error is of code
// InvalidArgument; b is then unchanged.
func EncodeArg(arg any, b []byte) (data []byte, codec string, err error) {
	data, codec, err = encode(arg, b)
	if err != nil {
		return b, codec, Errorf(InvalidArgument, "the argument: %w", err)
	}
	return data, codec, nil
}

func encode(v any, b []byte) (data []byte, codec string, err error) {
	switch v := v.(type) {
	case proto.Message:
		data, err = proto.MarshalOptions{}.MarshalAppend(b, v)
		return data, CodecProto, err
	case JSON:
		return append(b, v...), CodecJSON, nil
	}
	data, err = marshalJSON(v)
	return append(b, data...), CodecJSON, err
}

// asIs reports whether v may be handed to a local receiver as it is: a message, JSON, or a value
// that a way through JSON would not change and that shares no memory.
func asIs(v any) bool {
	switch v := v.(type) {
	case proto.Message, JSON, bool,
		int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return true
	case string:
		return utf8.ValidString(v)
	}
	return false
}

// sameType reports whether T is a type of which asIs values need no conversion: not an interface,
// into which JSON would decode another type.
func sameType[T any]() bool {
	var zero T
	return any(zero) != nil
}

// Answer decodes a reply into T: a pointer to a generated message, or any type that JSON decodes
// into.
func Answer[T any](r Reply) (T, error) {
	if r.Value == nil {
		return decode[T](r.Data)
	}
	if v, ok := typed[T](r.Value); ok {
		return v, nil
	}
	return convert[T](r.Value)
}

// typed is v if it was handed over as a T. JSON is still to be decoded, even into a type that could
// hold it as it is.
func typed[T any](v any) (T, bool) {
	t, ok := v.(T)
	_, raw := v.(JSON)
	return t, ok && !raw && sameType[T]()
}

// convert brings a value into T the way it would take over the wire.
func convert[T any](v any) (T, error) {
	var none T
	if _, message := v.(proto.Message); message {
		return none, fmt.Errorf("%T is not a %T", v, none)
	}
	if isMessage[T]() {
		return none, fmt.Errorf("%T is not a %T", v, none)
	}
	data, ok := v.(JSON)
	if !ok {
		encoded, err := marshalJSON(v)
		if err != nil {
			return none, err
		}
		data = encoded
	}
	return decode[T](data)
}

func isMessage[T any]() bool {
	var zero T
	_, ok := any(zero).(proto.Message)
	return ok
}

// codecOf is the codec in which values of T travel.
func codecOf[T any]() string {
	if isMessage[T]() {
		return CodecProto
	}
	return CodecJSON
}

// decode reads the binary form of a T.
func decode[T any](data []byte) (T, error) {
	var v T
	if m, ok := any(v).(proto.Message); ok {
		fresh := m.ProtoReflect().New().Interface()
		if err := unmarshalProto(data, fresh); err != nil {
			return v, err
		}
		return fresh.(T), nil
	}
	return decodeJSON[T](data)
}

// decodeJSON is apart, so that only here v is a variable on the heap.
func decodeJSON[T any](data []byte) (v T, err error) {
	err = unmarshalJSON(data, &v)
	return v, err
}

func unmarshalProto(data []byte, m protoreflect.ProtoMessage) error {
	return proto.UnmarshalOptions{RecursionLimit: maxDepth}.Unmarshal(data, m)
}

func marshalJSON(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%T as JSON: %w", v, err)
	}
	return data, nil
}

var errDeep = errors.New("json nests deeper than 64 levels")

func unmarshalJSON(data []byte, v any) error {
	if deeper(data, maxDepth) {
		return errDeep
	}
	return json.Unmarshal(data, v)
}

// deeper reports whether data nests deeper than limit; of malformed JSON it may say anything.
func deeper(data []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// requires reports whether a T is a message that can lack a required field, itself or within it: such
// messages only are looked at before they are handed over as they are. What extensions require is not known
// beforehand.
func requires[T any]() bool {
	var zero T
	m, ok := any(zero).(proto.Message)
	return ok && requiresFields(m.ProtoReflect().Descriptor(), map[protoreflect.FullName]bool{})
}

func requiresFields(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[d.FullName()] {
		return false
	}
	seen[d.FullName()] = true
	if d.RequiredNumbers().Len() > 0 || d.ExtensionRanges().Len() > 0 {
		return true
	}
	for i := range d.Fields().Len() {
		if sub := d.Fields().Get(i).Message(); sub != nil && requiresFields(sub, seen) {
			return true
		}
	}
	return false
}

// complete is the error of a message that lacks a required field, which encoding it would give. A nil one
// lacks all.
func complete(v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return nil
	}
	return proto.CheckInitialized(nonNil(m))
}

// completeResult is v, or the error of a result that cannot be encoded.
func completeResult(v any) (any, error) {
	if err := complete(v); err != nil {
		return nil, Errorf(Internal, "the result: %w", err)
	}
	return v, nil
}

func isProto(v any) bool {
	_, ok := v.(proto.Message)
	return ok
}

// nonNil is v, or for a nil message an empty one, which is what the other side would decode.
func nonNil[T any](v T) T {
	m, ok := any(v).(proto.Message)
	if !ok || m.ProtoReflect().IsValid() {
		return v
	}
	return m.ProtoReflect().New().Interface().(T)
}
