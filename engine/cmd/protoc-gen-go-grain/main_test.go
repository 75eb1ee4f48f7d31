package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/granary-go/granary/core/leaktest"
)

// asPlugin makes the test binary be the command.
const asPlugin = "GRANARY_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// The command answers a request that is piped to it as a compiler does.
func TestPiped(t *testing.T) {
	const graingen = "../../graingen"
	for _, row := range []struct{ request, grains string }{
		{"proto2", "proto2pb/counter_grain.pb.go"},
		{"proto3", "proto3pb/shop_grain.pb.go"},
		{"edition2023", "edition2023pb/lock_grain.pb.go"},
		{"edition2024", "edition2024pb/room_grain.pb.go"},
	} {
		request, err := os.ReadFile(filepath.Join(graingen, "testdata", row.request+".binpb"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(graingen, "internal", "golden", row.grains))
		if err != nil {
			t.Fatal(err)
		}
		answer, stderr, err := pipe(t, request)
		if err != nil || stderr != "" {
			t.Fatalf("%s: %v\n%s", row.request, err, stderr)
		}
		if len(answer.File) != 1 || answer.File[0].GetContent() != string(want) {
			t.Errorf("%s: answered %v", row.request, answer)
		}
	}
}

func pipe(t *testing.T, request []byte, args ...string) (*pluginpb.CodeGeneratorResponse, string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asPlugin+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &stdout, &stderr
	err = cmd.Run()
	answer := new(pluginpb.CodeGeneratorResponse)
	if e := proto.Unmarshal(stdout.Bytes(), answer); e != nil {
		t.Fatal(e)
	}
	return answer, stderr.String(), err
}

// Wrong .proto files are told in the answer, so that the compiler prints them; a wrong request is the
// compiler's own fault.
func TestFailures(t *testing.T) {
	data, err := os.ReadFile("../../graingen/testdata/proto3.binpb")
	if err != nil {
		t.Fatal(err)
	}
	request := new(pluginpb.CodeGeneratorRequest)
	if err := proto.Unmarshal(data, request); err != nil {
		t.Fatal(err)
	}
	for _, f := range request.ProtoFile {
		if f.GetName() == request.FileToGenerate[0] {
			f.Service[0].Method[0].ServerStreaming = proto.Bool(true)
		}
	}
	streaming, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, stderr, err := pipe(t, streaming)
	if err != nil || stderr != "" || !strings.Contains(answer.GetError(), "shop.proto:17:3: service Cart: method Add: streaming is not possible") || len(answer.File) != 0 {
		t.Errorf("streaming: %v, %v, %q", answer, err, stderr)
	}
	request.Parameter = proto.String("color=red")
	unknown, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		request []byte
		args    []string
		want    string
	}{
		"garbage":           {[]byte("\xff\xff"), nil, "read the request"},
		"unknown parameter": {unknown, nil, "color"},
		"arguments":         {nil, []string{"cart.proto"}, "use granary-gen"},
	} {
		if _, stderr, err := pipe(t, row.request, row.args...); err == nil || !strings.Contains(stderr, row.want) {
			t.Errorf("%s: %v, %q", name, err, stderr)
		}
	}
}
