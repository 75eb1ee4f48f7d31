package lookuptest

import (
	"errors"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// lifeRows are about start and stop.
func lifeRows(h Harness) []suitetest.Row {
	return []suitetest.Row{
		{Promise: "Stop before Start is nil", Check: func(t testing.TB) { stopBeforeStart(t, h) }},
		{Promise: "Stop twice is nil", Check: func(t testing.TB) { stopTwice(t, h) }},
		{Promise: "Resolve and Reshape after Stop give ErrStopped", Check: func(t testing.TB) { afterStop(t, h) }},
		{Promise: "Stop joins the goroutines", Check: func(t testing.TB) { stopJoins(t, h) }},
		{Promise: "Stop hands over what still runs", Check: func(t testing.TB) { stopHandsOver(t, h) }},
		{Promise: "Handle refuses what it does not know", Check: func(t testing.TB) { handleForeign(t, h) }},
	}
}

func stopBeforeStart(t testing.TB, h Harness) {
	l := h.New(t)()
	ctx := suitetest.WithTimeout(t, h.Settle)
	for range 2 {
		if err := l.Stop(ctx); err != nil {
			t.Errorf("stop before start: %v", err)
		}
	}
	if _, err := l.Resolve(ctx, ids(1)[0]); !errors.Is(err, core.ErrStopped) {
		t.Errorf("resolve after it: %v, want ErrStopped", err)
	}
}

func stopTwice(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 1)
	n := w.nodes[0]
	w.mustResolve(n, ids(1)[0])
	ctx := suitetest.WithTimeout(t, h.Settle)
	for range 2 {
		if err := n.lookup.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

func afterStop(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	n := w.nodes[0]
	id := ids(1)[0]
	w.mustResolve(n, id)
	ctx := suitetest.WithTimeout(t, h.Settle)
	if err := n.lookup.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	_, err := n.lookup.Resolve(ctx, id)
	if !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("resolve: %v (%v), want ErrStopped, undelivered", err, core.DeliveryOf(err))
	}
	if err := n.lookup.Reshape(core.Diff(w.view(), w.next())); !errors.Is(err, core.ErrStopped) {
		t.Errorf("reshape: %v, want ErrStopped", err)
	}
	n.lookup.Forget(id, core.PID{Address: "10.0.0.1:7000", ID: "g/1", Member: n.self.ID}) // allowed, and nothing
	if _, err := n.lookup.Handle(ctx, w.nodes[1].Self(), core.Message{Type: "lookuptest.Unknown"}); err == nil {
		t.Error("handle after Stop accepted a message that it cannot know")
	}
}

func stopJoins(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	n := w.nodes[0]
	for _, id := range ids(20) {
		w.mustResolve(n, id)
	}
	if err := n.lookup.Stop(suitetest.WithTimeout(t, h.Settle)); err != nil {
		t.Errorf("stop: %v", err)
	}
	// A goroutine tells Stop that it is done before it ends, so it is counted out a moment later.
	if left := n.group.Left(100 * time.Millisecond); left != nil {
		t.Errorf("goroutines are left when Stop has returned: %q", left)
	}
}

// stopHandsOver stops a lookup on a node that was not drained, and then looks for its identities.
func stopHandsOver(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	leaver := w.nodes[1]
	for _, id := range ids(30) {
		w.mustResolve(w.nodes[0], id)
	}
	w.setStatus(leaver, core.Leaving)
	w.publish()
	if err := leaver.lookup.Stop(suitetest.WithTimeout(t, h.Settle)); err != nil {
		t.Errorf("stop: %v", err)
	}
	for a := range leaver.Activations() {
		t.Errorf("%s still runs on the leaver when Stop has returned", a.Identity)
	}
	w.unlist(leaver.self.ID)
	w.crash(leaver)
	w.publish()
	w.checkConverged(ids(30))
}

func handleForeign(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	ctx := suitetest.WithTimeout(t, h.Settle)
	for _, m := range []core.Message{
		{Type: "lookuptest.Unknown", Data: []byte("data")},
		{},
		{Type: "cluster.ActivationRequest", Data: []byte{0xff, 0xff, 0xff}},
	} {
		if _, err := w.nodes[0].lookup.Handle(ctx, w.nodes[1].Self(), m); err == nil {
			t.Errorf("handle accepted %q with data %x", m.Type, m.Data)
		}
	}
	begin := time.Now()
	w.mustResolve(w.nodes[0], ids(1)[0])
	if took := time.Since(begin); took > h.Settle/2 {
		t.Errorf("after bad messages a Resolve took %v", took)
	}
}
