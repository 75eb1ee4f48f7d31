package protos_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	// What vectors are made of: every inherited package, and what gossip values hold.
	_ "github.com/granary-go/granary/protos/actorpb"
	_ "github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/remotepb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
)

// vector is one entry of messages.json and captured.json; captured frames carry no type.
type vector struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	TypeURL   string          `json:"any_type_url"`
	Hex       string          `json:"hex"`
	ProtoJSON json.RawMessage `json:"protojson"`
}

func TestMessages(t *testing.T) {
	eachVector(t, "messages*.json", func(t *testing.T, v vector) {
		m := newMessage(t, v.Type)
		data := decodeHex(t, v.Hex)
		unmarshal(t, data, m)
		matchesJSON(t, v.ProtoJSON, m)

		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		if got := hex.EncodeToString(again); got != strings.ToLower(v.Hex) {
			t.Errorf("bytes after a round trip:\n got %s\nwant %s", got, v.Hex)
		}
		if want := "type.googleapis.com/" + v.Type; v.TypeURL != "" && v.TypeURL != want {
			t.Errorf("type URL = %q, want %q", v.TypeURL, want)
		}
	})
}

func TestCaptured(t *testing.T) {
	eachVector(t, "captured*.json", func(t *testing.T, v vector) {
		first := new(remotepb.RemoteMessage)
		unmarshal(t, decodeHex(t, v.Hex), first)
		matchesJSON(t, v.ProtoJSON, first)
		roundTrip(t, first)
		for i, e := range first.GetMessageBatch().GetEnvelopes() {
			payload(t, first.GetMessageBatch(), i, e)
		}
	})
}

// payload round-trips what envelope i carries. Payloads of an application's own types stay bytes,
// since their types are not linked here, as they are not in most members.
func payload(t *testing.T, batch *remotepb.MessageBatch, i int, e *remotepb.MessageEnvelope) {
	t.Helper()
	id := int(e.GetTypeId())
	if id < 0 || id >= len(batch.GetTypeNames()) {
		t.Errorf("envelope %d: type index %d of %d names", i, id, len(batch.GetTypeNames()))
		return
	}
	name := protoreflect.FullName(batch.GetTypeNames()[id])
	kind, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		if !inherited(name) {
			return
		}
		t.Fatalf("envelope %d: %v", i, err)
	}
	m := kind.New().Interface()
	unmarshal(t, e.GetMessageData(), m)
	if len(m.ProtoReflect().GetUnknown()) != 0 {
		t.Errorf("envelope %d: %s has fields that our descriptors do not know", i, name)
	}
	roundTrip(t, m)
}

// roundTrip encodes m, decodes that, and wants an equal message.
func roundTrip(t *testing.T, m proto.Message) {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	again := m.ProtoReflect().New().Interface()
	unmarshal(t, data, again)
	if !proto.Equal(m, again) {
		t.Errorf("after a round trip:\n got %v\nwant %v", again, m)
	}
}

// matchesJSON wants the message that the JSON form describes to equal m.
func matchesJSON(t *testing.T, text []byte, m proto.Message) {
	t.Helper()
	want := m.ProtoReflect().New().Interface()
	if err := protojson.Unmarshal(text, want); err != nil {
		t.Fatalf("the vector's JSON: %v", err)
	}
	if !proto.Equal(m, want) {
		t.Errorf("decoded:\n got %v\nwant %v", m, want)
	}
}

func newMessage(t *testing.T, name string) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatalf("type %q: %v", name, err)
	}
	return kind.New().Interface()
}

func unmarshal(t *testing.T, data []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(data, m); err != nil {
		t.Fatalf("unmarshal %s: %v", m.ProtoReflect().Descriptor().FullName(), err)
	}
}

func decodeHex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatalf("hex: %v", err)
	}
	return data
}

// eachVector runs f as one subtest for every vector of every file that matches pattern.
func eachVector(t *testing.T, pattern string, f func(*testing.T, vector)) {
	t.Helper()
	for _, path := range vectorFiles(t, pattern) {
		var vectors []vector
		readJSON(t, path, &vectors)
		if len(vectors) == 0 {
			t.Errorf("%s holds no vector", path)
		}
		for _, v := range vectors {
			t.Run(filepath.Base(path)+"/"+v.Name, func(t *testing.T) { f(t, v) })
		}
	}
}

// vectorFiles lists the files that match pattern in testdata and in the folders of GRANARY_VECTORS.
func vectorFiles(t *testing.T, pattern string) []string {
	t.Helper()
	var files []string
	for _, dir := range append([]string{"testdata"}, filepath.SplitList(os.Getenv("GRANARY_VECTORS"))...) {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Fatalf("no file %s in testdata", pattern)
	}
	return files
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
