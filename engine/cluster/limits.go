package cluster

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/remote"
)

// maxBuckets bounds the memory of peers whose activations are counted; whoever has not asked for
// longest loses its bucket, and starts again with a full one.
const maxBuckets = 4096

// clients is the one bucket of all clients: a client draws a new ID for each start, and whoever may
// connect as one may do so again, so an ID is nothing to hold anybody to. It is no ID of a member.
const clients core.MemberID = "clients/all"

// payer is whose bucket a new activation is taken from.
func payer(from *remote.Peer) core.MemberID {
	if from.Client {
		return clients
	}
	return from.Member.ID
}

// payerKey is where a context says who has caused what is done under it.
type payerKey struct{}

// paidBy is ctx under which the activations that a lookup makes are taken from the bucket of id.
func paidBy(ctx context.Context, id core.MemberID) context.Context {
	return context.WithValue(ctx, payerKey{}, id)
}

// payerOf is whose bucket an activation under ctx is taken from: the peer's that has asked for it, else
// this member's own.
func (n *Node) payerOf(ctx context.Context) core.MemberID {
	if id, ok := ctx.Value(payerKey{}).(core.MemberID); ok {
		return id
	}
	return n.id
}

// rates limits how many new activations each peer may cause a second: one token bucket a peer and
// kind, filled by the clock. The burst is one second's worth.
type rates struct {
	clock core.Clock

	mu      sync.Mutex
	buckets map[rateKey]*bucket
}

type rateKey struct {
	peer core.MemberID
	kind string
}

type bucket struct {
	tokens float64
	filled time.Time
}

func newRates(clock core.Clock) *rates {
	return &rates{clock: clock, buckets: map[rateKey]*bucket{}}
}

// take spends one token of the peer. Where none is left it returns when the next one will be there.
func (r *rates) take(peer core.MemberID, kind string, perSecond float64) (ok bool, wait time.Duration) {
	if perSecond <= 0 {
		return true, 0
	}
	now := r.clock.Now()
	if simbug.On("wall-clock-in-expiry") {
		now = now.Round(0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := rateKey{peer, kind}
	b := r.buckets[key]
	burst := max(1, perSecond)
	if b == nil {
		if len(r.buckets) >= maxBuckets {
			r.evict()
		}
		b = &bucket{tokens: burst, filled: now}
		r.buckets[key] = b
	}
	b.tokens = min(burst, b.tokens+now.Sub(b.filled).Seconds()*perSecond)
	b.filled = now
	if b.tokens < 1 {
		return false, time.Duration((1 - b.tokens) / perSecond * float64(time.Second))
	}
	b.tokens--
	return true, 0
}

// evict forgets the bucket that was used least recently.
func (r *rates) evict() {
	var oldest rateKey
	var at time.Time
	for key, b := range r.buckets {
		if at.IsZero() || b.filled.Before(at) {
			oldest, at = key, b.filled
		}
	}
	delete(r.buckets, oldest)
}

// forget drops the buckets of a member that is gone.
func (r *rates) forget(peer core.MemberID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.buckets, func(key rateKey, _ *bucket) bool { return key.peer == peer })
}
