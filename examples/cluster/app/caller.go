package app

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/cluster/counterpb"
	"github.com/granary-go/granary/examples/cluster/history"
)

// caller is the process that puts load on the cluster. It is a client: it hosts nothing.
type caller struct {
	opts   Options
	file   *history.Writer
	pipe   *pipe
	call   Calling
	begin  func() (context.Context, context.CancelFunc) // the context of one call
	cancel context.CancelFunc                           // cancels all of them

	working sync.WaitGroup // one for each worker that has work
	mu      sync.Mutex     // guards workers
	workers map[*worker]bool

	homes []atomic.Pointer[string] // by identity: the address that has answered a sweep for it; nil: none yet

	second stats
}

// stats are the calls since they were last told.
type stats struct {
	mu    sync.Mutex // guards the rest
	took  []time.Duration
	calls int
	fails int
}

// runCaller is the life of the caller process: watch the members, load and sweep as ordered, stop.
func runCaller(ctx context.Context, s start, p *pipe, parts Parts) error {
	file, err := history.Create(s.Dir, s.Name, false)
	if err != nil {
		return err
	}
	made, end, err := parts.build(s, s.config(cluster.Config{Client: true}))
	if err != nil {
		return err
	}
	defer end()
	if err := begin(ctx, made.Node); err != nil {
		return err
	}
	c := newCaller(s.Options, file, p, func(ctx context.Context, key string, request uint64) (*counterpb.AddReply, error) {
		return counterpb.Counter(made.Node, key).Add(ctx, &counterpb.AddRequest{Request: request})
	})
	if parts.Call != nil {
		c.call = parts.Call(c.call)
	}
	p.send(notice{Ready: true})
	c.obey(ctx)
	if err := (Parts{}).leave(p, made.Node); err != nil {
		return err
	}
	return file.Close()
}

func newCaller(o Options, file *history.Writer, p *pipe, call Calling) *caller {
	calls, cancel := context.WithCancel(context.Background()) // the root of all calls
	return &caller{opts: o, file: file, pipe: p, call: call, workers: map[*worker]bool{}, cancel: cancel, homes: make([]atomic.Pointer[string], o.Identities),
		begin: func() (context.Context, context.CancelFunc) { return context.WithTimeout(calls, o.Timeout) }}
}

// obey carries out the orders of the driver until it says stop; what is outstanding then is cancelled.
func (c *caller) obey(ctx context.Context) {
	working, rest := context.WithCancel(ctx)
	defer rest()
	second, watch := time.NewTicker(time.Second), time.NewTicker(watchEvery)
	defer second.Stop()
	defer watch.Stop()
	stop, idle := ctx.Done(), make(chan struct{})
	pause := sync.OnceFunc(func() {
		rest()
		go func() { c.working.Wait(); close(idle) }()
	})
	for stop != nil || idle != nil {
		select {
		case <-second.C:
			c.tellSecond()
		case <-watch.C:
			c.watch()
		case o := <-c.pipe.orders:
			switch o.Do {
			case doLoad:
				c.startLoad(working)
			case doSweep:
				c.startSweep(working, o.Sweep)
			case doPause:
				pause()
			case doCancel:
				c.cancelCalls()
			}
		case <-idle:
			idle = nil
			if err := c.file.Flush(); err == nil { // else Close tells it
				c.pipe.send(notice{Paused: true})
			}
		case <-stop:
			stop = nil
			c.cancelCalls()
			pause()
		}
	}
}

// one makes one call and records its end; what the watcher has given up is recorded already.
func (c *caller) one(w *worker, key string, request uint64) (ended bool, activation string, ok bool) {
	ctx, cancel := c.begin()
	defer cancel()
	a := &attempt{key: key, request: request, start: c.file.Now()}
	a.deadline.Store(a.start + int64(c.opts.Timeout))
	w.present.Store(a)
	reply, err := c.call(ctx, key, request)
	end := c.file.Now()
	if !w.present.CompareAndSwap(a, nil) {
		return false, "", false
	}
	r := a.record(end)
	if err != nil {
		r.Outcome, r.Delivery = outcome(err), core.DeliveryOf(err).String()
	} else {
		r.Outcome, r.Delivery, r.Activation = history.OK, core.Delivered.String(), reply.GetActivation()
	}
	c.file.Call(r)
	c.second.count(time.Duration(end-a.start), err == nil)
	return true, reply.GetActivation(), err == nil
}

func (s *stats) count(took time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if !ok {
		s.fails++
		return
	}
	s.took = append(s.took, took)
}

// tellSecond sends the figures of the second that has passed.
func (c *caller) tellSecond() {
	s := &c.second
	s.mu.Lock()
	l, took := load{Calls: s.calls, Errors: s.fails}, s.took
	s.calls, s.fails, s.took = 0, 0, make([]time.Duration, 0, len(took))
	s.mu.Unlock()
	if len(took) > 0 {
		slices.Sort(took)
		l.P50 = float64(took[len(took)/2].Microseconds())
		l.P99 = float64(took[len(took)*99/100].Microseconds())
	}
	if l.Calls > 0 || c.busy() {
		c.pipe.offer(notice{Load: &l})
	}
}
