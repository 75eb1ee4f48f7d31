package cluster

import (
	"errors"
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/pidcache"
	"github.com/granary-go/granary/engine/remote"
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
		in := &inCall{node: n, size: 1, from: &remote.Peer{}}
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

// noter is the Replier of a call that has been given up: it notes when it is its turn.
type noter func(id uint64)

func (w noter) Reply(id uint64, _ any, _ error) { w(id) }

// TestWhatFollowsAWaitingCallStaysBehindIt of the same peer and identity, also what comes while those before are
// dealt with; and nothing else waits.
func TestWhatFollowsAWaitingCallStaysBehindIt(t *testing.T) {
	n := &Node{clock: core.SystemClock{}}
	var order []uint64
	var then func(id uint64)
	call := func(number uint64, peer core.MemberID, key string) *inCall {
		in := &inCall{node: n, size: 1, from: &remote.Peer{Member: core.Member{ID: peer}}, replyID: number, reply: noter(func(id uint64) {
			order = append(order, id)
			if then != nil {
				then(id)
			}
		})}
		in.req.ID = core.Identity{Kind: "K", Key: key}
		in.state.Store(callGivenUp) // so that it is answered at once when it goes on
		return in
	}
	follow := func(in *inCall, want bool) {
		t.Helper()
		if follows, err := n.queues.follow(n, in); follows != want || err != nil {
			t.Errorf("call %d waits: %v, %v, want %v", in.replyID, follows, err, want)
		}
	}
	first := call(1, "a", "k")
	follow(first, false)
	n.queues.enter(first)
	n.parkedBytes.Add(1)
	follow(call(2, "a", "k"), true)
	follow(call(3, "b", "k"), false)
	follow(call(4, "a", "other"), false)
	follow(call(5, "a", "k"), true)
	late := call(6, "a", "k")
	then = func(id uint64) {
		if id == 2 {
			follow(late, true)
		}
	}
	n.reroute(first)
	if want := []uint64{1, 2, 5, 6}; !slices.Equal(order, want) {
		t.Errorf("they go on as %v, want %v", order, want)
	}
	follow(call(7, "a", "k"), false)
	if n.parkedBytes.Load() != 0 || n.queues.used.Load() != 0 || len(n.queues.m) != 0 || n.queues.behind != 0 {
		t.Errorf("left: %d bytes, %d queues, %d behind", n.parkedBytes.Load(), n.queues.used.Load(), n.queues.behind)
	}
}

// TestTooManyBehindAreRefused as not delivered, to be tried again.
func TestTooManyBehindAreRefused(t *testing.T) {
	n := &Node{clock: core.SystemClock{}}
	in := &inCall{node: n, size: 1, from: &remote.Peer{}}
	n.queues.enter(in)
	n.queues.behind = maxParked
	follows, err := n.queues.follow(n, in)
	if after, ok := core.RetryAfter(err); follows || !errors.Is(err, core.ErrBusy) || !ok || after <= 0 || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("one more waits: %v, %v (%v)", follows, err, core.DeliveryOf(err))
	}
}
