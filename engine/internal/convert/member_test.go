package convert_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

func TestMemberRoundTrip(t *testing.T) {
	for _, m := range []core.Member{
		{ID: "m1", Address: "127.0.0.1:8001", Kinds: []string{"Cart", "Cart@2"}, Status: core.Joining, Joined: 1 << 40, Weight: 50, Protocol: core.Protocol{Min: 1, Max: 2}},
		{ID: "m2", Address: "[::1]:65535", Status: core.Leaving},
		{ID: "m3", Address: "db.example.org:1", Kinds: []string{"a"}, Status: core.Up, Weight: 65535, Protocol: core.Protocol{Max: 65535}},
	} {
		wire, err := convert.MemberToProto(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := convert.MemberFromProto(wire); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("MemberFromProto = %+v, %v, want %+v", got, err, m)
		}
	}
}

// What Proto.Actor writes has no own fields, and its kinds stand in random order.
func TestMemberOfProtoActor(t *testing.T) {
	wire := &clusterpb.Member{Host: "127.0.0.1", Port: 8001, Id: "m", Kinds: []string{"prototopic", "Hello", "Hello"}}
	want := core.Member{ID: "m", Address: "127.0.0.1:8001", Kinds: []string{"Hello", "prototopic"}, Status: core.Up}
	got, err := convert.MemberFromProto(wire)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("MemberFromProto = %+v, %v, want %+v", got, err, want)
	}
	if !slices.Equal(wire.Kinds, []string{"prototopic", "Hello", "Hello"}) {
		t.Errorf("the message was changed: %q", wire.Kinds)
	}
}

// The numbers of both enums are the same, so that conversion is a cast.
func TestStatusNumbers(t *testing.T) {
	for proto, want := range map[granarypb.MemberStatus]core.Status{
		granarypb.MemberStatus_MEMBER_STATUS_JOINING: core.Joining,
		granarypb.MemberStatus_MEMBER_STATUS_UP:      core.Up,
		granarypb.MemberStatus_MEMBER_STATUS_LEAVING: core.Leaving,
	} {
		if got := core.Status(proto); got != want {
			t.Errorf("%v = %v, want %v", proto, got, want)
		}
	}
}

func TestMemberToProtoRefusesAddresses(t *testing.T) {
	for _, address := range []string{"", "host", ":8001", "host:", "host:0", "host:65536", "host:-1", "host:08001", "::1:8001", "host:http"} {
		if got, err := convert.MemberToProto(core.Member{ID: "m", Address: address, Status: core.Up}); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("MemberToProto at %q = %v, %v, want %v", address, got, err, core.ErrInvalid)
		}
	}
}

func TestMemberBounds(t *testing.T) {
	good := func() *clusterpb.Member { return &clusterpb.Member{Host: "h", Port: 1, Id: "m", Kinds: []string{"k"}} }
	for _, tc := range []struct {
		name   string
		change func(*clusterpb.Member)
		ok     bool
	}{
		{"as it is", func(*clusterpb.Member) {}, true},
		{"no ID", func(m *clusterpb.Member) { m.Id = "" }, false},
		{"ID at its bound", func(m *clusterpb.Member) { m.Id = strings.Repeat("x", convert.MaxMemberID) }, true},
		{"ID over its bound", func(m *clusterpb.Member) { m.Id = strings.Repeat("x", convert.MaxMemberID+1) }, false},
		{"no host", func(m *clusterpb.Member) { m.Host = "" }, false},
		{"host over its bound", func(m *clusterpb.Member) { m.Host = strings.Repeat("x", convert.MaxAddress+1) }, false},
		{"host with a port", func(m *clusterpb.Member) { m.Host = "h:1" }, true}, // an IPv6 literal as far as anyone can tell
		{"host with brackets", func(m *clusterpb.Member) { m.Host = "[::1]" }, false},
		{"host with a bracket", func(m *clusterpb.Member) { m.Host = "a]b" }, false},
		{"host with a newline", func(m *clusterpb.Member) { m.Host = "h\n" }, false},
		{"port 0", func(m *clusterpb.Member) { m.Port = 0 }, false},
		{"port -1", func(m *clusterpb.Member) { m.Port = -1 }, false},
		{"port 65535", func(m *clusterpb.Member) { m.Port = 65535 }, true},
		{"port 65536", func(m *clusterpb.Member) { m.Port = 65536 }, false},
		{"port 70000", func(m *clusterpb.Member) { m.Port = 70000 }, false},
		{"unknown status", func(m *clusterpb.Member) { m.Status = 4 }, false},
		{"negative status", func(m *clusterpb.Member) { m.Status = -1 }, false},
		{"status that wraps", func(m *clusterpb.Member) { m.Status = 256 + 2 }, false},
		{"weight 65535", func(m *clusterpb.Member) { m.Weight = 65535 }, true},
		{"weight 65536", func(m *clusterpb.Member) { m.Weight = 65536 }, false},
		{"protocol 65536", func(m *clusterpb.Member) { m.ProtocolMax = 65536 }, false},
		{"protocol backwards", func(m *clusterpb.Member) { m.ProtocolMin, m.ProtocolMax = 2, 1 }, false},
		{"kinds at their bound", func(m *clusterpb.Member) { m.Kinds = kinds(convert.MaxKinds) }, true},
		{"kinds over their bound", func(m *clusterpb.Member) { m.Kinds = kinds(convert.MaxKinds + 1) }, false},
		{"kind at its bound", func(m *clusterpb.Member) { m.Kinds = []string{strings.Repeat("k", core.MaxKind)} }, true},
		{"kind over its bound", func(m *clusterpb.Member) { m.Kinds = []string{strings.Repeat("k", core.MaxKind+1)} }, false},
		{"empty kind", func(m *clusterpb.Member) { m.Kinds = []string{""} }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := good()
			tc.change(m)
			_, err := convert.MemberFromProto(m)
			if tc.ok != (err == nil) || err != nil && !errors.Is(err, core.ErrInvalid) {
				t.Errorf("error = %v, want accepted: %v", err, tc.ok)
			}
			if err != nil && len(err.Error()) > 1_000 {
				t.Errorf("the error quotes %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := convert.MemberFromProto(nil); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("an absent member: %v, want %v", err, core.ErrInvalid)
	}
}

func kinds(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("Kind%05d", i))
	}
	return out
}

func FuzzMember(f *testing.F) {
	f.Add(must(proto.Marshal(&clusterpb.Member{Host: "127.0.0.1", Port: 8001, Id: "m", Kinds: []string{"b", "a"}})))
	f.Add(must(proto.Marshal(&clusterpb.Member{Host: "::1", Port: 1, Id: "m", Status: 2, Joined: 9, Weight: 7, ProtocolMin: 1, ProtocolMax: 1})))
	f.Add([]byte{0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		wire := new(clusterpb.Member)
		if proto.Unmarshal(data, wire) != nil {
			return
		}
		var m core.Member
		var err error
		frugal(t, data, func() { m, err = convert.MemberFromProto(wire) })
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if _, err := core.NewView(core.ViewRecord{Members: []core.Member{m}}); err != nil {
			t.Fatalf("a member that no view takes: %v", err)
		}
		again, err := convert.MemberToProto(m)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", m, err)
		}
		if back, err := convert.MemberFromProto(again); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v comes back as %+v, %v", m, back, err)
		}
	})
}
