package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

// send has one member send raw bytes to a process of another, and waits for the answer.
func send(t *testing.T, from, to *cluster.Node, process, typ string, data []byte) (*remote.Inbound, error) {
	t.Helper()
	sys := cluster.System(from)
	ask := sys.NewAsk()
	ref := sys.Ref(core.PID{Address: to.Address(), ID: process, Member: to.ID()})
	if err := ref.Send(actor.Envelope{Message: core.Message{Type: typ, Data: data}, Reply: sys, ReplyID: ask.ID()}); err != nil {
		ask.Cancel()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	v, err := ask.WaitRaw(ctx)
	if err != nil {
		return nil, err
	}
	return v.(*remote.Inbound), nil
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRowsOfBadMessages sends what a broken or hostile member may send to the processes of a node that
// serves. Each is refused with a typed error, not delivered, and the node goes on.
func TestRowsOfBadMessages(t *testing.T) {
	raw := func(fields ...any) []byte { // number, string, number, string
		var b []byte
		for i := 0; i < len(fields); i += 2 {
			b = protowire.AppendTag(b, protowire.Number(fields[i].(int)), protowire.BytesType)
			b = protowire.AppendString(b, fields[i+1].(string))
		}
		return b
	}
	good := func(edit func(*clusterpb.GrainRequest)) []byte {
		m := &clusterpb.GrainRequest{Kind: "Keeper", Identity: "x", Method: "Keep", MethodIndex: -1, MessageTypeName: "json", MessageData: []byte(`"x"`)}
		edit(m)
		return marshal(t, m)
	}
	tests := []struct {
		name string
		to   string // "": $grain; "activation": a grain that runs
		typ  string // "": cluster.GrainRequest
		data []byte
		code grain.Code
	}{
		{"row 8: truncated", "", "", good(func(*clusterpb.GrainRequest) {})[:5], grain.InvalidArgument},
		{"row 8: claimed length", "", "", []byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x07}, grain.InvalidArgument},
		{"row 11: empty key", "", "", good(func(m *clusterpb.GrainRequest) { m.Identity = "" }), grain.InvalidArgument},
		{"row 11: empty kind", "", "", good(func(m *clusterpb.GrainRequest) { m.Kind = "" }), grain.InvalidArgument},
		{"row 11: NUL", "", "", good(func(m *clusterpb.GrainRequest) { m.Identity = "a\x00b" }), grain.InvalidArgument},
		{"row 11: newline", "", "", good(func(m *clusterpb.GrainRequest) { m.Identity = "a\nb" }), grain.InvalidArgument},
		{"row 11: not UTF-8", "", "", raw(100, "a\xff", 101, "Keeper"), grain.InvalidArgument},
		{"row 11: key of 10 KB", "", "", good(func(m *clusterpb.GrainRequest) { m.Identity = strings.Repeat("x", 10<<10) }), grain.InvalidArgument},
		{"row 11: kind of 10 KB", "", "", good(func(m *clusterpb.GrainRequest) { m.Kind = strings.Repeat("x", 10<<10) }), grain.InvalidArgument},
		{"row 11: kind with a slash", "", "", good(func(m *clusterpb.GrainRequest) { m.Kind = "a/b" }), grain.InvalidArgument},
		{"row 11: kind with a dollar", "", "", good(func(m *clusterpb.GrainRequest) { m.Kind = "$grain" }), grain.InvalidArgument},
		{"key one byte too long", "", "", good(func(m *clusterpb.GrainRequest) { m.Identity = strings.Repeat("x", core.MaxKey+1) }), grain.InvalidArgument},
		{"unknown kind", "", "", good(func(m *clusterpb.GrainRequest) { m.Kind = "Nope" }), grain.Unimplemented},
		{"unknown method", "", "", good(func(m *clusterpb.GrainRequest) { m.Method = "Nope" }), grain.Unimplemented},
		{"row 6: method index −1 without a name", "", "", good(func(m *clusterpb.GrainRequest) { m.Method = "" }), grain.Unimplemented},
		{"row 6: greatest method index", "", "", good(func(m *clusterpb.GrainRequest) { m.Method, m.MethodIndex = "", math.MaxInt32 }), grain.Unimplemented},
		{"row 10: unknown codec", "", "", good(func(m *clusterpb.GrainRequest) { m.MessageTypeName = "xml" }), grain.InvalidArgument},
		{"row 10: JSON that is none", "", "", good(func(m *clusterpb.GrainRequest) { m.MessageData = []byte(`{"a":NaN`) }), grain.InvalidArgument},
		{"row 10: JSON of depth 100,000", "", "", good(func(m *clusterpb.GrainRequest) { m.MessageData = []byte(strings.Repeat("[", 100_000)) }), grain.InvalidArgument},
		{"a chain too long", "", "", good(func(m *clusterpb.GrainRequest) { m.CallChain = make([]string, 100) }), grain.InvalidArgument},
		{"row 7: a type that $grain does not take", "", "granary.LookupRequest", nil, grain.Unknown},
		{"row 7: an unknown type", "", "no.Such", nil, grain.Unknown},
		{"row 7: a type that a grain does not take", "activation", "granary.ActivationsTerminated", nil, grain.Unknown},
		{"truncated, to a grain", "activation", "", []byte{0x12, 0x05, 'x'}, grain.InvalidArgument},
		{"row 12: $activator", "$activator", "", good(func(*clusterpb.GrainRequest) {}), grain.Unknown},
		{"row 12: a grain that is not there", "g/nope", "", good(func(*clusterpb.GrainRequest) {}), grain.Unavailable},
		{"lookup: truncated", "partition-activator", "granary.LookupRequest", []byte{0x0a}, grain.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, nil)
				if _, err := keep(t.Context(), p.Node(0), "Keeper", "running", "x"); err != nil {
					t.Fatal(err)
				}
				to, typ := test.to, test.typ
				switch to {
				case "":
					to = "$grain"
				case "activation":
					for a := range p.Node(1).Activations() {
						to = a.PID.ID
					}
				}
				if typ == "" {
					typ = "cluster.GrainRequest"
				}
				_, err := send(t, p.Node(0), p.Node(1), to, typ, test.data)
				if err == nil {
					t.Fatal("it was taken")
				}
				if code := grain.CodeOf(err); test.code != grain.Unknown && code != test.code {
					t.Errorf("%v: code %v, want %v", err, code, test.code)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("no answer: %v", err)
				}
				if d := core.DeliveryOf(err); d != core.Undelivered {
					t.Errorf("%v: %v", err, d)
				}
				if got, err := keep(t.Context(), p.Node(0), "Keeper", "running", "x"); got != "2" || err != nil {
					t.Errorf("a call afterwards: %q, %v", got, err)
				}
				if p.events.count("keep") != 2 {
					t.Errorf("events %v", p.events.take())
				}
			})
		})
	}
}

// TestNoticesOfOthersAreNotBelieved has a member say that activations of another have ended.
func TestNoticesOfOthersAreNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		if _, err := keep(t.Context(), p.Node(0), "Keeper", "x", "x"); err != nil {
			t.Fatal(err)
		}
		n := p.Add() // a third one lies about the second to the first
		p.Agree()
		var a core.Activation
		for a = range p.Node(1).Activations() {
		}
		data := marshal(t, &granarypb.ActivationsTerminated{Ends: []*granarypb.ActivationEnd{{Kind: "Keeper", Identity: "x", Placement: &granarypb.Placement{Pid: cluster.PID(a.PID)}}}})
		if _, err := send(t, n, p.Node(0), "$grain", "granary.ActivationsTerminated", data); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Log(err)
		}
		if p.Node(0).Health().Cached != 1 {
			t.Error("the cache believed it")
		}
		if _, err := send(t, p.Node(1), p.Node(0), "$grain", "granary.ActivationsTerminated", data); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Log(err)
		}
		if p.Node(0).Health().Cached != 0 {
			t.Error("the cache did not believe the member itself")
		}
	})
}

// TestFloodOfIdentities calls ever new identities: the limits of the kind hold, and the node goes on.
func TestFloodOfIdentities(t *testing.T) {
	bothWays(t, func(k *grain.Kind) { k.MaxActivations = 100; k.Idle = 50 * time.Millisecond }, func(t *testing.T, caller *cluster.Node, p *pair) {
		refused := 0
		for i := range 5000 {
			_, err := keep(t.Context(), caller, "Keeper", fmt.Sprint(i), "x")
			if errors.Is(err, core.ErrOverloaded) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
			if p.live() > 100 {
				t.Fatalf("%d live", p.live())
			}
		}
		if refused == 0 {
			t.Error("none was refused")
		}
		time.Sleep(200 * time.Millisecond)
		if _, err := keep(t.Context(), caller, "Keeper", "after", "x"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
