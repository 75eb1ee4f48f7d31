package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/cluster/counterpb"
	"github.com/granary-go/granary/examples/cluster/history"
	"github.com/granary-go/granary/examples/cluster/wiring"
	"github.com/granary-go/granary/providers/memberlist"
)

// sweepers is how many identities a sweep calls at a time.
const sweepers = 32

// unendedAfter is how long past its deadline a call is waited for before it counts as never ending.
const unendedAfter = 250 * time.Millisecond

// caller is the process that puts load on the cluster. It is a client: it hosts nothing.
type caller struct {
	opts Options
	file *history.Writer
	pipe *pipe
	call calling

	mu    sync.Mutex // guards took, calls, errors: one second of load
	took  []time.Duration
	calls int
	fails int
}

// runCaller is the life of the caller process: watch the members, load and sweep as ordered, stop.
func runCaller(s start, p *pipe, parts Parts) error {
	file, err := history.Create(s.Dir, s.Name, false)
	if err != nil {
		return err
	}
	made, err := parts.build(wiring.Config{
		Cluster:    cluster.Config{Name: "demo", Client: true, Logger: logger(s.Name)},
		Memberlist: memberlist.Config{Seeds: s.Seeds, Preset: memberlist.Local},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), formLimit)
	defer cancel()
	if err := made.Node.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	c := &caller{opts: s.Options, file: file, pipe: p, call: func(ctx context.Context, key string, request uint64) (*counterpb.AddReply, error) {
		return counterpb.Counter(made.Node, key).Add(ctx, &counterpb.AddRequest{Request: request})
	}}
	if parts.Call != nil {
		c.call = parts.Call(c.call)
	}
	p.send(notice{Ready: true})
	c.obey()
	stop, cancelStop := context.WithTimeout(context.Background(), processLimit)
	defer cancelStop()
	if err := made.Node.Stop(stop); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return file.Close()
}

// obey carries out the orders of the driver until it says stop.
func (c *caller) obey() {
	load, endLoad := context.WithCancel(context.Background())
	defer endLoad()
	var callers sync.WaitGroup
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-second.C:
			c.tellSecond()
		case o := <-c.pipe.orders:
			switch o.Do {
			case doLoad:
				for i := range c.opts.Callers {
					callers.Go(func() { c.load(load, i+1) })
				}
			case doSweep:
				callers.Go(func() { c.sweep(load, o.Sweep) })
			case doPause:
				endLoad()
				callers.Wait()
				if c.file.Flush() == nil {
					c.pipe.send(notice{Paused: true})
				}
			case doStop:
				endLoad()
				callers.Wait()
				return
			}
		}
	}
}

// load is one caller: one call after the other, of identities drawn at random.
func (c *caller) load(ctx context.Context, number int) {
	rng := rand.New(rand.NewPCG(c.opts.Seed, uint64(number)))
	for n := uint64(1); ctx.Err() == nil; n++ {
		c.one(strconv.Itoa(rng.IntN(c.opts.Identities)), uint64(number)<<32|n)
	}
}

// sweep calls every identity until each has answered, and tells the driver.
func (c *caller) sweep(ctx context.Context, number int) {
	keys := make(chan int)
	var workers sync.WaitGroup
	for w := range sweepers {
		workers.Go(func() {
			n := uint64(0)
			for key := range keys {
				for ctx.Err() == nil {
					n++
					caller := uint64(c.opts.Callers + 1 + number*sweepers + w)
					if c.one(strconv.Itoa(key), caller<<32|n) {
						break
					}
				}
			}
		})
	}
	for key := range c.opts.Identities {
		select {
		case keys <- key:
		case <-ctx.Done():
		}
	}
	close(keys)
	workers.Wait()
	if ctx.Err() == nil {
		c.pipe.send(notice{Swept: number})
	}
}

// one makes one call and records its end. A call that does not end is recorded as that, and left.
func (c *caller) one(key string, request uint64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
	defer cancel()
	from := c.file.Now()
	reply, err, ended := c.bounded(ctx, key, request)
	r := history.Record{Member: "caller", Event: history.Called, Request: request, ID: "Counter/" + key, Start: from, End: c.file.Now()}
	switch {
	case !ended:
		r.Outcome, r.Delivery = history.Unended, core.DeliveryUnknown.String()
	case err != nil:
		r.Outcome, r.Delivery = outcome(err), core.DeliveryOf(err).String()
	default:
		r.Outcome, r.Delivery, r.Activation = history.OK, core.Delivered.String(), reply.GetActivation()
	}
	c.file.Call(r)
	c.count(time.Duration(r.End-r.Start), r.Outcome == history.OK)
	return r.Outcome == history.OK
}

// bounded waits for a call until a little after its deadline: that it ends is what is being tested.
func (c *caller) bounded(ctx context.Context, key string, request uint64) (reply *counterpb.AddReply, err error, ended bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		reply, err = c.call(ctx, key, request)
	}()
	select {
	case <-done:
		return reply, err, true
	case <-ctx.Done():
	}
	late := time.NewTimer(unendedAfter)
	defer late.Stop()
	select {
	case <-done:
		return reply, err, true
	case <-late.C:
		return nil, nil, false
	}
}

func (c *caller) count(took time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if !ok {
		c.fails++
		return
	}
	c.took = append(c.took, took)
}

// tellSecond sends the figures of the second that has passed.
func (c *caller) tellSecond() {
	c.mu.Lock()
	l := load{Calls: c.calls, Errors: c.fails}
	took := c.took
	c.calls, c.fails, c.took = 0, 0, nil
	c.mu.Unlock()
	if len(took) > 0 {
		slices.Sort(took)
		l.P50 = float64(took[len(took)/2].Microseconds())
		l.P99 = float64(took[len(took)*99/100].Microseconds())
	}
	if l.Calls > 0 {
		c.pipe.send(notice{Load: &l})
	}
}

// sentinels are the errors that a call may end with, by the name that the records give them.
var sentinels = []struct {
	name string
	err  error
}{
	{"fenced", core.ErrFenced}, {"no member", core.ErrNoMember}, {"unknown kind", core.ErrNoKind},
	{"not owner", core.ErrNotOwner}, {"busy", core.ErrBusy}, {"overloaded", core.ErrOverloaded},
	{"unreachable", core.ErrUnreachable}, {"stopped", core.ErrStopped}, {"invalid", core.ErrInvalid},
	{"unsupported", core.ErrUnsupported}, {"conflict", core.ErrConflict}, {"not found", core.ErrNotFound},
	{"evicted", core.ErrEvicted},
	{"deadline exceeded", context.DeadlineExceeded}, {"canceled", context.Canceled},
}

// outcome names an error: a sentinel, the code of a *grain.Error, or untyped.
func outcome(err error) string {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	if e, ok := errors.AsType[*grain.Error](err); ok {
		return "code " + e.Code.String()
	}
	return history.Untyped
}
