// Package ratelimit counts what each peer may cause a second: a token bucket a peer and kind.
package ratelimit

import (
	"maps"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// maxBuckets bounds the memory of peers whose activations are counted; whoever has not asked for
// longest loses its bucket, and starts again with a full one.
const maxBuckets = 4096

// Limiter limits how many new activations each peer may cause a second: one token bucket a peer and
// kind, filled by the clock. The burst is one second's worth. Safe for concurrent use.
type Limiter struct {
	clock core.Clock

	mu      sync.Mutex
	buckets map[key]*bucket
}

type key struct {
	peer core.MemberID
	kind string
}

type bucket struct {
	tokens float64
	filled time.Time
}

// New returns a limiter by the given clock, with full buckets.
func New(clock core.Clock) *Limiter {
	return &Limiter{clock: clock, buckets: map[key]*bucket{}}
}

// Take spends one token of the peer. Where none is left it returns when the next one will be there.
func (r *Limiter) Take(peer core.MemberID, kind string, perSecond float64) (ok bool, wait time.Duration) {
	if perSecond <= 0 {
		return true, 0
	}
	now := r.clock.Now()
	if simbug.On("wall-clock-in-expiry") {
		now = now.Round(0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := key{peer, kind}
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
func (r *Limiter) evict() {
	var oldest key
	var at time.Time
	for key, b := range r.buckets {
		if at.IsZero() || b.filled.Before(at) {
			oldest, at = key, b.filled
		}
	}
	delete(r.buckets, oldest)
}

// Forget drops the buckets of a member that is gone.
func (r *Limiter) Forget(peer core.MemberID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.buckets, func(key key, _ *bucket) bool { return key.peer == peer })
}
