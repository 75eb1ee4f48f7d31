package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// meddling is a clock that does something when it is first asked for the time.
type meddling struct {
	core.SystemClock
	first func()
}

func (c *meddling) Now() time.Time {
	if f := c.first; f != nil {
		c.first = nil
		f()
	}
	return c.SystemClock.Now()
}

// TestCancelBetweenTheBeginOfATurnAndItsContext is not lost: the method does not run.
func TestCancelBetweenTheBeginOfATurnAndItsContext(t *testing.T) {
	ran := false
	k := newKind(grain.KindOf("K", func(grain.Self) (int, error) { return 0, nil },
		grain.Method("Do", func(int, context.Context, int) (int, error) { ran = true; return 0, nil })))
	spec, _ := k.Method(0, "Do")
	limited := *spec
	limited.Timeout = time.Hour // so that the turn looks at the clock
	n := testNode(t)
	a := &activation{node: n, kind: k, key: "k", grain: 0}
	a.outer.a = a
	in := &inCall{node: n, method: &limited, from: &remote.Peer{}}
	in.req.Codec, in.req.Data = "json", []byte("1")
	n.clock = &meddling{first: in.cancel}
	a.outer.begin()
	_, err := a.runRemote(&a.outer, in)
	a.outer.end()
	if ran || !errors.Is(err, context.Canceled) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("it ran: %v; %v (%v)", ran, err, core.DeliveryOf(err))
	}
}

// TestCancelsOfUnknownCallsAreNotKept by the activation that they are sent to.
func TestCancelsOfUnknownCallsAreNotKept(t *testing.T) {
	n := testNode(t)
	a := &activation{node: n}
	for i := range uint64(5000) {
		data, err := (&wireform.Cancel{Number: i + 1}).AppendWire(nil)
		if err != nil {
			t.Fatal(err)
		}
		if taken, err := a.gateWire(&remote.Inbound{Type: wireform.TypeCancelCall, Data: data, From: &remote.Peer{}}, &actor.Envelope{}); !taken || err != nil {
			t.Fatal(taken, err)
		}
	}
	if a.extra.Load() != nil || n.routed.len() != 0 {
		t.Errorf("kept: %+v, %d calls", a.extra.Load(), n.routed.len())
	}
}

// TestAllocationsPerArrival: a call from the wire is one, with its message and all that its turn and answer need.
func TestAllocationsPerArrival(t *testing.T) {
	n := testNode(t)
	data, err := (&wireform.Request{Data: []byte("1"), Method: "Do", Remaining: time.Second}).AppendWire(nil)
	if err != nil {
		t.Fatal(err)
	}
	lent, e := &remote.Inbound{Type: wireform.TypeGrainRequest, From: &remote.Peer{}}, &actor.Envelope{}
	var in *inCall
	got := testing.AllocsPerRun(100, func() {
		lent.Data = data
		if in, err = n.arrive(lent, e); err != nil {
			t.Fatal(err)
		}
	})
	clear(data) // the connection uses it again
	if got != 1 || string(in.req.Data) != "1" || string(in.req.Name) != "Do" || in.message.Data != nil {
		t.Errorf("%v allocations, want 1; %+v holds %q", got, in.req, in.message.Data)
	}
}
