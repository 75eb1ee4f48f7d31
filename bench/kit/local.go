package kit

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// runTell sends n messages from width producers to one actor.
func runTell(s Subject, row *Row, n int, res *Result) error {
	sys, err := s.Local()
	if err != nil {
		return err
	}
	c := new(Counter)
	sink, err := sys.Sink(c, n)
	if err != nil {
		return err
	}
	flood := func(each, producers int) error {
		latch := NewLatch(1)
		c.Expect(each*producers, latch)
		if err := together(producers, func(int) error { return sink.Send(each) }); err != nil {
			return err
		}
		return latch.Wait(completion)
	}
	if err := flood(warmUp, 1); err != nil {
		return err
	}
	m, err := begin()
	if err != nil {
		return err
	}
	each := n / row.width
	if err := flood(each, row.width); err != nil {
		return err
	}
	if err := m.end(res, each*row.width); err != nil {
		return err
	}
	return c.Check()
}

// runFanout sends n messages to width actors in turn.
func runFanout(s Subject, row *Row, n int, res *Result) error {
	sys, err := s.Local()
	if err != nil {
		return err
	}
	width := min(row.width, n)
	each := n / width
	latch := NewLatch(width)
	counters, sinks := make([]Counter, width), make([]Sink, width)
	for i := range sinks {
		counters[i].Expect(each, latch)
		if sinks[i], err = sys.Sink(&counters[i], each); err != nil {
			return err
		}
	}
	m, err := begin()
	if err != nil {
		return err
	}
	for range each {
		for _, sink := range sinks {
			if err := sink.Send(1); err != nil {
				return err
			}
		}
	}
	if err := latch.Wait(completion); err != nil {
		return err
	}
	if err := m.end(res, each*width); err != nil {
		return err
	}
	for i := range counters {
		if err := counters[i].Check(); err != nil {
			return fmt.Errorf("actor %d: %w", i, err)
		}
	}
	return nil
}

// runPingPong plays n round trips between two actors.
func runPingPong(s Subject, _ *Row, n int, res *Result) error {
	sys, err := s.Local()
	if err != nil {
		return err
	}
	play, err := sys.PingPong()
	if err != nil {
		return err
	}
	if err := play(warmUp); err != nil {
		return err
	}
	m, err := begin()
	if err != nil {
		return err
	}
	if err := play(n); err != nil {
		return err
	}
	return m.end(res, n)
}

// runAsk makes n requests from width callers, each to its own actor.
func runAsk(s Subject, row *Row, n int, res *Result) error {
	sys, err := s.Local()
	if err != nil {
		return err
	}
	callers := make([]Caller, row.width)
	for i := range callers {
		if callers[i], err = sys.Echo(); err != nil {
			return err
		}
	}
	return measureCalls(res, callers, n, 8)
}

// measureCalls warms the callers up and lets each make its share of n requests.
func measureCalls(res *Result, callers []Caller, n, every int, children ...*child) error {
	each := n / len(callers)
	err := together(len(callers), func(i int) error {
		warm := warmUp/len(callers) + 1
		return callers[i].Call(warm, NewLatencies(every, warm))
	})
	if err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	lat := make([]*Latencies, len(callers))
	for i := range lat {
		lat[i] = NewLatencies(every, each)
	}
	m, err := begin(children...)
	if err != nil {
		return err
	}
	if err := together(len(callers), func(i int) error { return callers[i].Call(each, lat[i]) }); err != nil {
		return err
	}
	if err := m.end(res, each*len(callers)); err != nil {
		return err
	}
	res.latencies(lat)
	return nil
}

// runSpawn spawns n idle actors and weighs them.
func runSpawn(s Subject, _ *Row, n int, res *Result) error {
	sys, err := s.Local()
	if err != nil {
		return err
	}
	empty := inUse()
	latch := NewLatch(n)
	m, err := begin()
	if err != nil {
		return err
	}
	if err := sys.Spawn(n, latch); err != nil {
		return err
	}
	if err := latch.Wait(completion); err != nil {
		return err
	}
	if err := m.end(res, n); err != nil {
		return err
	}
	res.set("bytes/actor", float64(inUse()-empty)/float64(n))
	runtime.KeepAlive(sys)
	return nil
}

// runSpawnStop spawns and stops n actors, one after another.
func runSpawnStop(s Subject, _ *Row, n int, res *Result) error {
	sys, err := s.Local()
	if err != nil {
		return err
	}
	if err := sys.SpawnStop(warmUp); err != nil {
		return err
	}
	m, err := begin()
	if err != nil {
		return err
	}
	if err := sys.SpawnStop(n); err != nil {
		return err
	}
	return m.end(res, n)
}

// together runs do for 0 to n-1, each in a goroutine of its own, and waits for all. The error is the
// first one, and how many there were.
func together(n int, do func(i int) error) error {
	if n == 1 {
		return do(0)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d failed: %w", len(errs), n, errs[0])
}

// poll asks until done says yes; after limit it gives up.
func poll(limit time.Duration, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := done()
		if err != nil {
			return err
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not after %v", what, limit)
		}
		time.Sleep(time.Millisecond)
	}
}
