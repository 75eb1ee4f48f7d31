package app

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/examples/cluster/history"
)

const (
	watchEvery = 50 * time.Millisecond  // how often outstanding calls are looked at
	grace      = 250 * time.Millisecond // how long past its deadline a call is waited for
	sweepPause = 5 * time.Millisecond   // before an identity that failed is called again
)

// worker makes one call after the other. That a call ends is what is being tested, so a worker may
// get stuck in one: the watcher then takes its work away and has another goroutine go on with it. That
// costs a call two atomic operations, and no goroutine of its own.
type worker struct {
	work
	present atomic.Pointer[attempt] // whoever takes it out records its end
}

// work is what a worker is to call. One goroutine at a time asks for it.
type work interface {
	// next is the next call, or false when there is none.
	next() (key string, request uint64, ok bool)
	// ended tells how it went.
	ended(ok bool)
}

// attempt is a call that has begun.
type attempt struct {
	key      string
	request  uint64
	start    int64
	deadline atomic.Int64
}

func (a *attempt) record(end int64) history.Record {
	return history.Record{Member: "caller", Event: history.Called, Request: a.request, ID: "Counter/" + a.key, Start: a.start, End: end}
}

// hire starts a worker.
func (c *caller) hire(w work) {
	c.working.Add(1)
	made := &worker{work: w}
	c.mu.Lock()
	c.workers[made] = true
	c.mu.Unlock()
	go c.run(made)
}

// run calls until there is no more work. A goroutine whose call was given up has lost it to another.
func (c *caller) run(w *worker) {
	for {
		key, request, ok := w.next()
		if !ok {
			c.mu.Lock()
			delete(c.workers, w)
			c.mu.Unlock()
			c.working.Done()
			return
		}
		ended, ok := c.one(w, key, request)
		if !ended {
			return
		}
		w.ended(ok)
	}
}

// watch looks at the outstanding calls: one that is long past its deadline is recorded as never
// ending, and its work goes on without it.
func (c *caller) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.file.Now()
	for w := range c.workers {
		a := w.present.Load()
		if a == nil || now <= a.deadline.Load()+int64(grace) || !w.present.CompareAndSwap(a, nil) {
			continue
		}
		r := a.record(now)
		r.Outcome, r.Delivery = history.Unended, core.DeliveryUnknown.String()
		c.file.Call(r)
		c.second.count(0, false)
		w.ended(false)
		go c.run(w)
	}
}

// cancelCalls cancels what is outstanding: it must end by now, not by its deadline.
func (c *caller) cancelCalls() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.file.Now()
	for w := range c.workers {
		if a := w.present.Load(); a != nil {
			a.deadline.Store(min(now, a.deadline.Load()))
		}
	}
}

func (c *caller) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.workers) > 0
}

// startLoad starts the callers: each calls identities drawn at random until ctx ends.
func (c *caller) startLoad(ctx context.Context) {
	for i := range c.opts.Callers {
		number := uint64(i + 1)
		c.hire(&loading{done: ctx.Done(), rng: rand.New(rand.NewPCG(c.opts.Seed, number)), identities: c.opts.Identities, request: number << 32})
	}
}

// loading is the work of one caller.
type loading struct {
	done       <-chan struct{}
	rng        *rand.Rand
	identities int
	request    uint64
}

func (l *loading) next() (string, uint64, bool) {
	select {
	case <-l.done:
		return "", 0, false
	default:
	}
	l.request++
	return strconv.Itoa(l.rng.IntN(l.identities)), l.request, true
}

func (l *loading) ended(bool) {}

// sweepers is how many identities a sweep calls at a time: twice as many as the load, so that it has two
// thirds of what the machine can do.
func sweepers(o Options) int { return min(max(32, 2*o.Callers), 1024) }

// startSweep calls every identity until each has answered, and tells the driver.
func (c *caller) startSweep(ctx context.Context, number int) {
	s := &sweep{identities: int64(c.opts.Identities), done: ctx.Done(), complete: func() { c.pipe.send(notice{Swept: number}) }}
	count := sweepers(c.opts)
	for i := range count {
		caller := uint64(c.opts.Callers + 1 + number*count + i)
		c.hire(&sweeping{sweep: s, request: caller << 32})
	}
}

// sweep is what the workers of one share.
type sweep struct {
	identities int64
	done       <-chan struct{}
	taken      atomic.Int64
	answered   atomic.Int64
	complete   func()
}

// sweeping is the work of one of them: an identity is called until it answers.
type sweeping struct {
	*sweep
	key     string
	request uint64
	retry   bool
}

func (s *sweeping) next() (string, uint64, bool) {
	if s.retry {
		pause := time.NewTimer(sweepPause)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-s.done:
		}
	} else {
		n := s.taken.Add(1)
		if n > s.identities {
			return "", 0, false
		}
		s.key = strconv.FormatInt(n-1, 10)
	}
	select {
	case <-s.done:
		return "", 0, false
	default:
	}
	s.request++
	return s.key, s.request, true
}

func (s *sweeping) ended(ok bool) {
	s.retry = !ok
	if ok && s.answered.Add(1) == s.identities {
		s.complete()
	}
}
