package main

import (
	"bytes"
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"

	"github.com/granary-go/granary/bench/kit"
)

// methods are those of a service with Echo and Where, as the generator writes them.
var (
	echoSpec  = grain.MethodSpec{Name: "Echo", Index: 0}
	whereSpec = grain.MethodSpec{Name: "Where", Index: 1}
)

// echoGrain answers with the payload, or with the index of its member.
type echoGrain struct{ member int }

// Echo returns its argument.
func (g *echoGrain) Echo(_ context.Context, m *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	return m, nil
}

// Where returns the index of the member.
func (g *echoGrain) Where(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	return wrapperspb.Bytes([]byte{byte(g.member)}), nil
}

// newKind returns the kind as hosted by the member with that index.
func newKind(kind kit.Kind, member int) grain.Kind {
	factory := func(grain.Self) (*echoGrain, error) { return &echoGrain{member}, nil }
	return grain.NewKind(string(kind), factory, []grain.MethodSpec{
		grain.ProtoMethod(echoSpec, (*echoGrain).Echo),
		grain.ProtoMethod(whereSpec, (*echoGrain).Where),
	})
}

// grainClient has the shape of the client that the generator writes. Its calls share one context with
// a deadline, as those of one request do.
type grainClient struct {
	ctx     context.Context
	caller  grain.Caller
	to      core.Identity
	message *wrapperspb.BytesValue
}

var errPayload = errors.New("call: reply is not the payload")

// Call implements [kit.Caller].
func (g *grainClient) Call(n int, lat *kit.Latencies) error {
	for range n {
		begun := lat.Begin()
		reply, err := g.do(g.ctx, echoSpec, g.message)
		if err != nil {
			return err
		}
		if !bytes.Equal(reply.GetValue(), g.message.GetValue()) {
			return errPayload
		}
		lat.End(begun)
	}
	return nil
}

func (g *grainClient) do(ctx context.Context, method grain.MethodSpec, m *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	return grain.Do[*wrapperspb.BytesValue](ctx, g.caller, grain.Request{To: g.to, Method: method.Name, Index: method.Index, Arg: m})
}
