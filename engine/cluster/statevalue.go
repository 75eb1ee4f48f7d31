package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
)

// typeJSON is the type of a value whose bytes are JSON text.
const typeJSON = "granary.JSON"

// stateMessage is a value as it travels. Protobuf messages go as they are, so that programs in other
// languages read them; texts and bytes as the wrappers that protobuf has for them.
func stateMessage(value any) (core.Message, error) {
	switch v := value.(type) {
	case core.Message:
		return core.Message{Type: v.Type, Data: bytes.Clone(v.Data)}, nil
	case proto.Message:
		return protoMessage(v)
	case string:
		return protoMessage(wrapperspb.String(v))
	case []byte:
		return protoMessage(wrapperspb.Bytes(v))
	}
	data, err := json.Marshal(value)
	if err != nil {
		return core.Message{}, fmt.Errorf("a value of type %T: %w: %w", value, err, core.ErrInvalid)
	}
	return core.Message{Type: typeJSON, Data: data}, nil
}

func protoMessage(m proto.Message) (core.Message, error) {
	if !m.ProtoReflect().IsValid() {
		return core.Message{}, fmt.Errorf("a value of type %T that is nil: %w", m, core.ErrInvalid)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return core.Message{}, fmt.Errorf("a value of type %T: %w: %w", m, err, core.ErrInvalid)
	}
	return core.Message{Type: string(m.ProtoReflect().Descriptor().FullName()), Data: data}, nil
}

// DecodeState reads a value as the T that it was set as: a pointer to a protobuf message, string, []byte,
// core.Message (the value as it travels), or anything that encoding/json reads. An error is a
// core.ErrInvalid.
func DecodeState[T any](m core.Message) (T, error) {
	var value T
	err := decodeState(m, &value)
	if err != nil {
		var none T
		return none, fmt.Errorf("a value of type %.80q as %T: %w", m.Type, value, err)
	}
	return value, nil
}

// decodeState reads m into what out points to.
func decodeState[T any](m core.Message, out *T) error {
	switch out := any(out).(type) {
	case *core.Message:
		*out = core.Message{Type: m.Type, Data: append([]byte(nil), m.Data...)}
		return nil
	case *string:
		var w wrapperspb.StringValue
		err := unmarshal(m, &w)
		*out = w.GetValue()
		return err
	case *[]byte:
		var w wrapperspb.BytesValue
		err := unmarshal(m, &w)
		*out = w.GetValue()
		return err
	}
	if p, ok := any(*out).(proto.Message); ok {
		fresh := p.ProtoReflect().New().Interface()
		*out, _ = fresh.(T)
		return unmarshal(m, fresh)
	}
	if m.Type != typeJSON {
		return fmt.Errorf("it is no JSON: %w", core.ErrInvalid)
	}
	if err := json.Unmarshal(m.Data, out); err != nil { // its text may quote a number of 64 KiB
		return fmt.Errorf("%.200v: %w", err, core.ErrInvalid)
	}
	return nil
}

// unmarshal reads m, which must be of the very type of into.
func unmarshal(m core.Message, into proto.Message) error {
	if want := string(into.ProtoReflect().Descriptor().FullName()); m.Type != want {
		return fmt.Errorf("want %s: %w", want, core.ErrInvalid)
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: 64}).Unmarshal(m.Data, into); err != nil {
		return fmt.Errorf("%w: %w", err, core.ErrInvalid)
	}
	return nil
}
