package nodes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// request is one call or message.
type request struct {
	number     uint64
	p          *process // who sends it
	to         core.Identity
	idempotent bool
	tell       bool
	began      time.Duration
	limit      time.Duration
	over       bool
	orphan     bool // its process is gone: nobody hears of the end
	ended      time.Duration
	err        error
	activation uint64 // that answered
	executed   int
	ran        []uint64 // the activations that have handled it
	view       stamp    // of the sender's view as it was sent
}

// How busy each process is.
const (
	callers   = 2
	tellers   = 3
	callPause = 400 * time.Millisecond // between two calls of one caller, on the average half
	tellPause = 700 * time.Millisecond
)

// call has a process that is up call and tell until it is gone or the load ends.
func (w *world) call(p *process) {
	for i := range callers {
		rng := w.rand(fmt.Sprint(p.name, ".caller.", i))
		w.load.Go(func() {
			for w.rest(p, rng, callPause) {
				to, idempotent := w.ids[rng.IntN(len(w.ids))], rng.IntN(10) == 0
				if !w.hushed.Load() {
					w.ask(p, to, idempotent, callLimit, uint64(i))
				}
			}
		})
	}
	for i := range tellers {
		rng := w.rand(fmt.Sprint(p.name, ".teller.", i))
		w.load.Go(func() {
			to := w.ids[rng.IntN(len(w.ids))]
			for place := 1; w.rest(p, rng, tellPause); {
				for range 1 + rng.IntN(5) {
					if !w.hushed.Load() {
						w.tell(p, i, to, place)
						place++
					}
				}
			}
		})
	}
}

// rest waits a while; false: it is over.
func (w *world) rest(p *process, rng *rand.Rand, most time.Duration) bool {
	timer := time.NewTimer(1 + time.Duration(rng.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.gone:
		return false
	case <-w.quiet:
		return false
	}
	select {
	case <-p.gone:
		return false
	case <-w.quiet:
		return false
	default:
		return true
	}
}

// ask makes one call and notes how it ends.
func (w *world) ask(p *process, to core.Identity, idempotent bool, limit time.Duration, caller uint64) *request {
	r := w.newRequest(p, to, limit, caller)
	r.idempotent = idempotent
	var opts []grain.CallOption
	if idempotent {
		opts = append(opts, grain.Idempotent())
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answer, err := grain.Call[uint64](ctx, p.node, to, "Add", ask{Number: r.number, From: p.id}, opts...)
	w.ended(r, answer, err)
	return r
}

// tell sends a message of the i-th stream of p.
func (w *world) tell(p *process, i int, to core.Identity, place int) {
	r := w.newRequest(p, to, callLimit, uint64(callers+i))
	r.tell = true
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	err := grain.Tell(ctx, p.node, to, "Note", ask{Number: r.number, From: p.id, Sender: fmt.Sprint(p.name, ".", i), Place: place})
	w.ended(r, 0, err)
}

// newRequest numbers a request by its caller, so that the number does not depend on what others do.
func (w *world) newRequest(p *process, to core.Identity, limit time.Duration, caller uint64) *request {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := &w.ledger
	key := fmt.Sprint(p.name, ".", caller)
	l.counts[key]++
	r := &request{number: token(key, "", l.counts[key]), p: p, to: to, began: w.now(), limit: limit}
	if p.view != nil {
		r.view = stampOf(p.view)
	}
	l.requests = append(l.requests, r)
	l.byNumber[r.number] = r
	p.eventLocked("calls", to.Key, r.number)
	return r
}
