package cluster

import (
	"errors"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/pidcache"
)

// TestWaitingCallsAreBoundedInBytes at the bound less one, at the bound, and above it.
func TestWaitingCallsAreBoundedInBytes(t *testing.T) {
	for _, tt := range []struct {
		held, size int
		fits       bool
	}{{0, maxParkedBytes - 1, true}, {0, maxParkedBytes, true}, {0, maxParkedBytes + 1, false}, {maxParkedBytes - 10, 10, true}, {maxParkedBytes - 10, 11, false}} {
		n := &Node{}
		n.parkedBytes.Store(int64(tt.held))
		if fits := n.room(&inCall{size: tt.size}); fits != tt.fits {
			t.Errorf("%d bytes beside %d: %v, want %v", tt.size, tt.held, fits, tt.fits)
		}
		want := int64(tt.held)
		if tt.fits {
			want += int64(tt.size)
		}
		if got := n.parkedBytes.Load(); got != want {
			t.Errorf("%d bytes beside %d: %d are counted, want %d", tt.size, tt.held, got, want)
		}
	}
}

// TestWaitingCallsAreBoundedInNumber at the bound less one, at the bound, and above it, where they wait
// for a view and where they wait for the end of an activation.
func TestWaitingCallsAreBoundedInNumber(t *testing.T) {
	for _, tt := range []struct {
		waiting int
		fits    bool
	}{{maxParked - 2, true}, {maxParked - 1, true}, {maxParked, false}, {maxParked + 1, false}} {
		n := &Node{clock: core.SystemClock{}, acts: newTable(pidcache.New(1).Hash)}
		in := &inCall{node: n, size: 1}
		in.req.ID = core.Identity{Kind: "K", Key: "k"}

		views := &parking{calls: make([]parkedCall, tt.waiting), stop: func() bool { return true }}
		fits, err := views.park(n, in)
		if fits != tt.fits || len(views.calls) != tt.waiting+btoi(fits) {
			t.Errorf("%d wait for a view: one more fits: %v, want %v", tt.waiting, fits, tt.fits)
		}
		if after, ok := core.RetryAfter(err); !fits && (!errors.Is(err, core.ErrBusy) || !ok || after <= 0 || core.DeliveryOf(err) != core.Undelivered) {
			t.Errorf("the refusal: %v (%v)", err, core.DeliveryOf(err))
		}

		a := &activation{node: n, kind: &kind{Kind: grain.Kind{Name: "K"}}, key: in.req.ID.Key, ending: &ending{parked: make([]*inCall, tt.waiting)}}
		hash := n.acts.hash(a.id())
		n.acts.shard(hash).Put(hash, a)
		if fits := n.acts.park(a, in); fits != tt.fits || len(a.ending.parked) != tt.waiting+btoi(fits) {
			t.Errorf("%d wait for an end: one more fits: %v, want %v", tt.waiting, fits, tt.fits)
		}
		if got, want := n.parkedBytes.Load(), int64(2*btoi(tt.fits)); got != want {
			t.Errorf("%d bytes are counted, want %d", got, want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
