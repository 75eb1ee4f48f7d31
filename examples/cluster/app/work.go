package app

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
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
	// ended tells how it went, and which activation has answered.
	ended(activation string, ok bool)
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
		ended, activation, ok := c.one(w, key, request)
		if !ended {
			return
		}
		w.ended(activation, ok)
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
		w.ended("", false)
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

func (l *loading) ended(string, bool) {}

// sweepers is how many identities a sweep calls at a time: twice as many as the load, so that it has two
// thirds of what the machine can do.
func sweepers(o Options) int { return min(max(32, 2*o.Callers), 1024) }

// startSweep calls every identity until each has answered, and tells the driver.
func (c *caller) startSweep(ctx context.Context, number int) {
	s := &sweep{homes: c.homes, done: ctx.Done(), complete: func() { c.pipe.send(notice{Swept: number}) }}
	s.lists = byHome(c.homes)
	s.taken = make([]atomic.Int64, len(s.lists))
	count := sweepers(c.opts)
	for i := range count {
		caller := uint64(c.opts.Callers + 1 + number*count + i)
		c.hire(&sweeping{sweep: s, list: i % len(s.lists), request: caller << 32})
	}
}

// byHome lists the identities of each address that answered for them last, so that those of a member that
// is dead hold up nobody else's; those that nobody has answered for are a list too.
func byHome(homes []atomic.Pointer[string]) (lists [][]int) {
	at := map[string]int{}
	for identity := range homes {
		home := ""
		if h := homes[identity].Load(); h != nil {
			home = *h
		}
		i, known := at[home]
		if !known {
			i = len(lists)
			at[home] = i
			lists = append(lists, nil)
		}
		lists[i] = append(lists[i], identity)
	}
	return lists
}

// sweep is what the workers of one share.
type sweep struct {
	homes    []atomic.Pointer[string] // of the identities, by number
	lists    [][]int                  // the identities, by home
	taken    []atomic.Int64           // of each list
	done     <-chan struct{}
	answered atomic.Int64
	complete func()
}

// take gives an identity of a list, or of the next one that has any left.
func (s *sweep) take(list int) (identity int, ok bool) {
	for i := range s.lists {
		l := (list + i) % len(s.lists)
		if n := s.taken[l].Add(1); n <= int64(len(s.lists[l])) {
			return s.lists[l][n-1], true
		}
	}
	return 0, false
}

// sweeping is the work of one of them: an identity is called until it answers.
type sweeping struct {
	*sweep
	list     int // that it begins with
	identity int
	request  uint64
	retry    bool
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
		identity, ok := s.take(s.list)
		if !ok {
			return "", 0, false
		}
		s.identity = identity
	}
	select {
	case <-s.done:
		return "", 0, false
	default:
	}
	s.request++
	return strconv.Itoa(s.identity), s.request, true
}

func (s *sweeping) ended(activation string, ok bool) {
	s.retry = !ok
	if !ok {
		return
	}
	home, _, _ := strings.Cut(activation, "/")
	s.homes[s.identity].Store(&home)
	if s.answered.Add(1) == int64(len(s.homes)) {
		s.complete()
	}
}
