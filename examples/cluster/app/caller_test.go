package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/cluster/counterpb"
	"github.com/granary-go/granary/examples/cluster/history"
)

// desk is a caller without a cluster: calls go to a function, orders and notices over channels.
type desk struct {
	t    *testing.T
	dir  string
	c    *caller
	stop context.CancelFunc
	over chan struct{}
}

func newDesk(t *testing.T, o Options, call Calling) *desk {
	dir := t.TempDir()
	file, err := history.Create(dir, "caller", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	p := &pipe{orders: make(chan order, enough), notices: make(chan *notice, enough)}
	d := &desk{t: t, dir: dir, c: newCaller(o, file, p, call), stop: stop, over: make(chan struct{})}
	go func() {
		defer close(d.over)
		d.c.obey(ctx)
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}()
	return d
}

func (d *desk) order(o order) { d.c.pipe.orders <- o }

// notice waits for one that matches; live lines are passed over.
func (d *desk) notice(matches func(*notice) bool) {
	d.t.Helper()
	limit := time.After(10 * time.Minute) // of the bubble
	for {
		select {
		case n := <-d.c.pipe.notices:
			if matches(n) {
				return
			}
		case <-limit:
			d.t.Fatal("no such notice within a minute")
		}
	}
}

// end stops the caller and reads what it has recorded.
func (d *desk) end() []history.Record {
	d.t.Helper()
	d.stop()
	<-d.over
	f, err := os.Open(filepath.Join(d.dir, "caller.jsonl"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	var all []history.Record
	for in := bufio.NewScanner(f); in.Scan(); {
		var r history.Record
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			d.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func answer() (*counterpb.AddReply, error) { return &counterpb.AddReply{Activation: "a"}, nil }

// A sweep calls each identity until it has answered, and no longer.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refusals atomic.Int32
		d := newDesk(t, Options{Callers: 2, Identities: 100, Timeout: time.Second}, func(_ context.Context, key string, _ uint64) (*counterpb.AddReply, error) {
			if key == "17" && refusals.Add(1) <= 3 {
				return nil, core.WithDelivery(core.ErrBusy, core.Undelivered)
			}
			return answer()
		})
		d.order(order{Do: doSweep, Sweep: 1})
		d.notice(func(n *notice) bool { return n.Swept == 1 })
		answered, requests := map[string]int{}, map[uint64]bool{}
		for _, r := range d.end() {
			if requests[r.Request] {
				t.Errorf("request %d was made twice", r.Request)
			}
			requests[r.Request] = true
			if r.Outcome == history.OK {
				answered[r.ID]++
			} else if r.ID != "Counter/17" || r.Outcome != "busy" || r.Delivery != "undelivered" {
				t.Errorf("record %+v", r)
			}
		}
		if len(answered) != 100 || len(requests) != 103 {
			t.Errorf("%d identities answered in %d requests, want 100 in 103", len(answered), len(requests))
		}
	})
}

// The identities of a member that does not answer hold up nobody else's: those that another one has answered
// for are called meanwhile.
func TestSweepPassesTheDead(t *testing.T) {
	const identities = 300 // of each of two members, far more than are called at a time
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		var alive atomic.Int32
		detected := make(chan struct{})
		d := newDesk(t, Options{Callers: 2, Identities: 2 * identities, Timeout: time.Second}, func(ctx context.Context, key string, _ uint64) (*counterpb.AddReply, error) {
			n, err := strconv.Atoi(key)
			if err != nil {
				return nil, err
			}
			if n%2 == 0 {
				if dead.Load() && alive.Add(1) == identities {
					close(detected)
				}
				return &counterpb.AddReply{Activation: "127.0.0.1:1/a"}, nil
			}
			if dead.Load() {
				select {
				case <-detected:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return &counterpb.AddReply{Activation: "127.0.0.1:2/a"}, nil
		})
		d.order(order{Do: doSweep, Sweep: 1})
		d.notice(func(n *notice) bool { return n.Swept == 1 })
		dead.Store(true)
		d.order(order{Do: doSweep, Sweep: 2})
		d.notice(func(n *notice) bool { return n.Swept == 2 })
		all := d.end()
		if len(all) != 4*identities {
			t.Errorf("%d calls, want each identity twice", len(all))
		}
		for _, r := range all {
			if r.Outcome != history.OK {
				t.Fatalf("%+v: it waited for others of its member, and they for it", r)
			}
		}
	})
}

// An identity whose call never ends has not answered: it is called again.
func TestSweepGoesOnBesideACallThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var stuck atomic.Bool
		d := newDesk(t, Options{Callers: 2, Identities: 100, Timeout: time.Second}, func(_ context.Context, key string, _ uint64) (*counterpb.AddReply, error) {
			if key == "17" && !stuck.Swap(true) {
				<-release
			}
			return answer()
		})
		d.order(order{Do: doSweep, Sweep: 1})
		d.notice(func(n *notice) bool { return n.Swept == 1 })
		if all := d.end(); len(all) != 101 || all[99].Outcome != history.Unended || all[100].ID != "Counter/17" || all[100].Outcome != history.OK {
			t.Errorf("%d records, the last two %+v", len(all), all[max(len(all)-2, 0):])
		}
	})
}

// A call that ignores its deadline is recorded as never ending, once, and its caller goes on.
func TestCallThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := newDesk(t, Options{Callers: 1, Identities: 10, Timeout: time.Second}, func(ctx context.Context, _ string, request uint64) (*counterpb.AddReply, error) {
			time.Sleep(100 * time.Millisecond)
			if uint32(request) == 3 {
				<-release
			}
			return answer()
		})
		d.order(order{Do: doLoad})
		time.Sleep(3 * time.Second)
		d.order(order{Do: doPause})
		d.notice(func(n *notice) bool { return n.Paused })
		close(release) // its end comes too late to count
		synctest.Wait()
		all := d.end()
		var unended []history.Record
		last := uint64(0)
		for _, r := range all {
			if r.Request <= last {
				t.Errorf("request %d was recorded after %d", r.Request, last)
			}
			last = r.Request
			if r.Outcome != history.OK {
				unended = append(unended, r)
			}
		}
		if len(unended) != 1 || unended[0].Outcome != history.Unended || uint32(unended[0].Request) != 3 || unended[0].Delivery != "unknown" {
			t.Fatalf("records %+v", unended)
		}
		if took := time.Duration(unended[0].End - unended[0].Start); took < time.Second+grace || took > time.Second+grace+2*watchEvery {
			t.Errorf("it was given up after %v", took)
		}
		if n := len(all); n < 17 || n > 19 { // 3 s, less the 1.3 s of the one, at 0.1 s each
			t.Errorf("%d calls in 3 s", n)
		}
	})
}

// A call that ends after its deadline, but soon, is recorded with its true end.
func TestCallThatEndsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{Callers: 1, Identities: 10, Timeout: time.Second}, func(ctx context.Context, _ string, _ uint64) (*counterpb.AddReply, error) {
			<-ctx.Done()
			time.Sleep(grace - time.Millisecond)
			return nil, core.WithDelivery(ctx.Err(), core.DeliveryUnknown)
		})
		d.order(order{Do: doLoad})
		time.Sleep(1500 * time.Millisecond)
		d.order(order{Do: doPause})
		d.notice(func(n *notice) bool { return n.Paused })
		all := d.end()
		if len(all) != 2 || all[0].Outcome != "deadline exceeded" || all[0].End-all[0].Start != int64(time.Second+grace-time.Millisecond) {
			t.Errorf("records %+v", all)
		}
	})
}

// Cancelled calls end at once, and those that do not are given up soon, whatever their deadline.
func TestCancel(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			d := newDesk(t, Options{Callers: 3, Identities: 10, Timeout: time.Minute}, func(ctx context.Context, _ string, _ uint64) (*counterpb.AddReply, error) {
				if heeds {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				<-release
				return answer()
			})
			d.order(order{Do: doLoad})
			time.Sleep(time.Second)
			d.order(order{Do: doPause})
			time.Sleep(time.Second)
			asked := time.Now()
			d.order(order{Do: doCancel})
			d.notice(func(n *notice) bool { return n.Paused })
			if took := time.Since(asked); took > grace+2*watchEvery || heeds && took > 0 {
				t.Errorf("heeds %v: the calls ended after %v", heeds, took)
			}
			want := map[bool]string{true: "canceled", false: history.Unended}[heeds]
			all := d.end()
			if len(all) != 3 || all[0].Outcome != want {
				t.Errorf("heeds %v: records %+v, want three of %q", heeds, all, want)
			}
		})
	}
}

// A stop without a pause before it cancels as well.
func TestStopUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{Callers: 3, Identities: 10, Timeout: time.Minute}, func(ctx context.Context, _ string, _ uint64) (*counterpb.AddReply, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("call: %w", ctx.Err())
		})
		d.order(order{Do: doLoad})
		d.order(order{Do: doSweep, Sweep: 1})
		time.Sleep(time.Second)
		if all := d.end(); len(all) != 3+10 || all[0].Outcome != "canceled" {
			t.Errorf("%d records, the first %+v", len(all), all[0])
		}
	})
}

func TestOutcome(t *testing.T) {
	for _, s := range sentinels() {
		if got := outcome(fmt.Errorf("cluster: call: %w", core.WithDelivery(s.err, core.Undelivered))); got != s.name {
			t.Errorf("%v is named %q, want %q", s.err, got, s.name)
		}
		if s.err.Error() != s.name && !strings.Contains(s.err.Error(), s.name) {
			t.Errorf("%v has the name %q", s.err, s.name)
		}
	}
	if got := outcome(fmt.Errorf("x: %w", &grain.Error{Code: grain.Internal})); got != "code "+grain.Internal.String() {
		t.Errorf("a grain's error is named %q", got)
	}
	if got := outcome(errors.New("some text")); got != history.Untyped {
		t.Errorf("an untyped error is named %q", got)
	}
}
