package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/bench/kit"
)

// Method indexes of the grain.
const (
	methodEcho = iota
	methodWhere
)

// grainIdle is the time after which a grain without calls stops, as protoc-gen-go-grain sets it.
const grainIdle = 60 * time.Second

// newKind returns the kind as protoc-gen-go-grain would write it for a service of two methods, Echo
// and Where, both from BytesValue to BytesValue.
func newKind(kind kit.Kind, member int) *cluster.Kind {
	return cluster.NewKind(string(kind), actor.PropsFromProducer(func() actor.Actor {
		return &grainActor{member: member}
	}))
}

// grainActor has the shape of the actor that the generator writes around a grain.
type grainActor struct {
	ctx    cluster.GrainContext
	member int
}

// Receive implements [actor.Actor].
func (a *grainActor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
	case *cluster.ClusterInit:
		a.ctx = cluster.NewGrainContext(ctx, msg.Identity, msg.Cluster)
		ctx.SetReceiveTimeout(grainIdle)
	case *actor.ReceiveTimeout:
		ctx.Poison(ctx.Self())
	case actor.AutoReceiveMessage:
	case actor.SystemMessage:
	case *cluster.GrainRequest:
		a.onRequest(ctx, msg)
	}
}

func (a *grainActor) onRequest(ctx actor.Context, msg *cluster.GrainRequest) {
	req := &wrapperspb.BytesValue{}
	if err := proto.Unmarshal(msg.MessageData, req); err != nil {
		ctx.Respond(cluster.NewGrainErrorResponse(cluster.ErrorReason_INVALID_ARGUMENT, err.Error()))
		return
	}
	switch msg.MethodIndex {
	case methodEcho:
		ctx.Respond(req)
	case methodWhere:
		ctx.Respond(wrapperspb.Bytes([]byte{byte(a.member)}))
	}
}

// grainClient has the shape of the client that the generator writes.
type grainClient struct {
	cluster   *cluster.Cluster
	kind, key string
	message   *wrapperspb.BytesValue
}

// Call implements [kit.Caller].
func (g *grainClient) Call(n int, lat *kit.Latencies) error {
	for range n {
		begun := lat.Begin()
		reply, err := g.invoke(methodEcho, g.message)
		if err != nil {
			return err
		}
		if !bytes.Equal(reply.Value, g.message.Value) {
			return fmt.Errorf("call: reply is not the payload")
		}
		lat.End(begun)
	}
	return nil
}

func (g *grainClient) invoke(method int32, m *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	reply, err := g.cluster.Request(g.key, g.kind, &cluster.GrainRequest{MethodIndex: method, MessageData: data})
	if err != nil {
		return nil, fmt.Errorf("error request: %w", err)
	}
	switch msg := reply.(type) {
	case *wrapperspb.BytesValue:
		return msg, nil
	case *cluster.GrainErrorResponse:
		return nil, msg
	default:
		return nil, fmt.Errorf("unknown response type %T", reply)
	}
}
