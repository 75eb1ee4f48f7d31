package grain_test

import (
	"context"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/grain"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// node runs one kind the way a cluster does, without one: locally by pointer, or as if the grain
// were on another member.
type node struct {
	kind   grain.Kind
	remote bool
	grain  any
	sent   grain.Request // the last one
}

func newNode(t testing.TB, kind grain.Kind, remote bool) *node {
	t.Helper()
	if err := kind.Check(); err != nil {
		t.Fatal(err)
	}
	g, err := kind.Instance(grain.Self{})
	if err != nil {
		t.Fatal(err)
	}
	return &node{kind: kind, remote: remote, grain: g}
}

func (n *node) Call(ctx context.Context, r grain.Request) (grain.Reply, error) {
	n.sent = r
	m, ok := n.kind.Method(r.Index, r.Method)
	if !ok {
		return grain.Reply{}, n.failed(grain.ErrorOf(grain.UnknownMethod(r.To, r.Index, r.Method)), core.Undelivered)
	}
	if n.remote {
		return n.callRemote(ctx, m, r)
	}
	arg, err := m.Prepare(r.Arg)
	if err != nil {
		return grain.Reply{}, core.WithDelivery(err, core.Undelivered)
	}
	v, err := m.Invoke(ctx, n.grain, arg)
	if grain.ArgumentRefused(err) {
		return grain.Reply{}, n.failed(grain.ErrorOf(err), core.Undelivered)
	}
	if err != nil {
		return grain.Reply{}, n.failed(grain.ErrorOf(err), core.Delivered)
	}
	return grain.Reply{Value: v}, nil
}

func (n *node) callRemote(ctx context.Context, m *grain.MethodSpec, r grain.Request) (grain.Reply, error) {
	data, codec, err := grain.EncodeArg(r.Arg, nil)
	if err != nil {
		return grain.Reply{}, core.WithDelivery(err, core.Undelivered)
	}
	arg, err := m.Decode(codec, data)
	if err != nil {
		return grain.Reply{}, n.failed(grain.ErrorOf(err), core.Undelivered)
	}
	v, err := m.Invoke(ctx, n.grain, arg)
	if err != nil {
		return grain.Reply{}, n.failed(grain.ErrorOf(err), core.Delivered)
	}
	out, err := m.EncodeReply(v, nil)
	if err != nil {
		return grain.Reply{}, n.failed(grain.ErrorOf(err), core.Delivered)
	}
	return grain.Reply{Data: out}, nil
}

func (n *node) failed(e *grain.Error, d core.Delivery) error {
	if n.remote {
		e = grain.FromWire(e.Wire())
	}
	return core.WithDelivery(e, d)
}

func (n *node) Tell(ctx context.Context, r grain.Request) error {
	_, _ = n.Call(ctx, r)
	return nil
}

// everyway runs test against a local and a remote grain of the same kind.
func everyway(t *testing.T, kind grain.Kind, test func(t *testing.T, n *node)) {
	for _, remote := range []bool{false, true} {
		name := "local"
		if remote {
			name = "remote"
		}
		t.Run(name, func(t *testing.T) { test(t, newNode(t, kind, remote)) })
	}
}
