package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/granarypb"
)

// said is a value of the fuzz target below as JSON.
type said struct {
	Text   string
	Number int
	Names  []string
}

// FuzzDecodeState reads what another member has gossiped as each of the types that have a form of their
// own.
func FuzzDecodeState(f *testing.F) {
	for _, value := range []any{"text", []byte("bytes"), said{"a", 1, []string{"x"}}, wrapperspb.Int64(7)} {
		m, err := stateMessage(value)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkState[string](t, "google.protobuf.StringValue", data)
		checkState[[]byte](t, "google.protobuf.BytesValue", data)
		checkState[core.Message](t, "any", data)
		checkState[said](t, typeJSON, data)
		if v, err := DecodeState[*wrapperspb.Int64Value](core.Message{Type: "google.protobuf.Int64Value", Data: data}); (err == nil) != (v != nil) {
			t.Fatalf("%v, %v", v, err)
		}
	})
}

func checkState[T any](t *testing.T, typ string, data []byte) {
	t.Helper()
	fuzztest.Decoder[T]{
		Decode: func(data []byte) (T, error) { return DecodeState[T](core.Message{Type: typ, Data: data}) },
		Encode: func(v T) ([]byte, error) {
			m, err := stateMessage(v)
			return m.Data, err
		},
		Equal: func(a, b T) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) },
	}.Check(t, data)
}

// TestErrorsOfStateAreShort, however long the value is that is quoted.
func TestErrorsOfStateAreShort(t *testing.T) {
	m := core.Message{Type: typeJSON, Data: []byte(`{"Number": ` + strings.Repeat("7", MaxStateValue-20) + `}`)}
	if _, err := DecodeState[said](m); !errors.Is(err, core.ErrInvalid) || len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes: %.100v", len(err.Error()), err)
	}
}

// FuzzBroadcast: what another member broadcasts is published, or refused as not delivered.
func FuzzBroadcast(f *testing.F) {
	n, err := New(Config{Broadcasts: []proto.Message{&structpb.Value{}, &granarypb.Placement{}}}, Single())
	if err != nil {
		f.Fatal(err)
	}
	sys, err := actor.New(actor.Config{})
	if err != nil {
		f.Fatal(err)
	}
	n.events.Store(sys.Events())
	for name, m := range map[string]proto.Message{
		"google.protobuf.Value": structpb.NewStringValue("x"), "granary.Placement": &granarypb.Placement{Pid: &actorpb.PID{Id: "g/1"}},
		"nobody.Knows": structpb.NewNullValue(),
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		err := n.publishMessage(core.Message{Type: name, Data: data})
		switch {
		case err == nil && n.broadcasts[name] == nil:
			t.Fatalf("a message of type %q was published", name)
		case err != nil && (core.DeliveryOf(err) != core.Undelivered || !errors.Is(err, core.ErrInvalid) && !errors.Is(err, core.ErrUnsupported) || len(err.Error()) > 4<<10):
			t.Fatalf("%v (%v)", err, core.DeliveryOf(err))
		}
	})
}
