package core_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

func TestDelivery(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want core.Delivery
	}{
		{"nil", nil, core.DeliveryUnknown},
		{"unmarked", core.ErrBusy, core.DeliveryUnknown},
		{"marked", core.WithDelivery(core.ErrBusy, core.Undelivered), core.Undelivered},
		{"wrapped", fmt.Errorf("call: %w", core.WithDelivery(core.ErrBusy, core.Delivered)), core.Delivered},
		{"the outermost counts", core.WithDelivery(core.WithDelivery(core.ErrBusy, core.Undelivered), core.Delivered), core.Delivered},
		{"unknown by name", core.WithDelivery(core.WithDelivery(core.ErrBusy, core.Undelivered), core.DeliveryUnknown), core.DeliveryUnknown},
		{"behind a retry", core.Retry(core.WithDelivery(core.ErrBusy, core.Undelivered), time.Second), core.Undelivered},
		{"joined", errors.Join(errors.New("x"), core.WithDelivery(core.ErrBusy, core.Undelivered)), core.Undelivered},
	}
	for _, tt := range tests {
		if got := core.DeliveryOf(tt.err); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if tt.err != nil && (!errors.Is(tt.err, core.ErrBusy) || tt.err.Error() == "") {
			t.Errorf("%s: the sentinel is lost", tt.name)
		}
	}
	if core.WithDelivery(nil, core.Delivered) != nil || core.Retry(nil, 1) != nil {
		t.Error("nil became an error")
	}
}

func TestRetryAfter(t *testing.T) {
	err := core.WithDelivery(fmt.Errorf("x: %w", core.Retry(core.Retry(core.ErrBusy, time.Hour), time.Second)), core.Undelivered)
	if d, ok := core.RetryAfter(err); !ok || d != time.Second || !errors.Is(err, core.ErrBusy) || err.Error() != "x: busy" {
		t.Errorf("%v, %v, %q, want the outermost", d, ok, err)
	}
	if d, ok := core.RetryAfter(core.ErrBusy); ok || d != 0 {
		t.Errorf("%v, %v without a time", d, ok)
	}
}

func TestJoinHooks(t *testing.T) {
	var told []string
	note := func(text string) core.Hooks {
		return core.Hooks{
			Duplicate: func(kept, stopped core.Activation) {
				told = append(told, text+" duplicate "+kept.Identity.Key+stopped.Identity.Key)
			},
			Timed: func(name string, took time.Duration, err error) {
				told = append(told, fmt.Sprint(text, " ", name, took, err))
			},
			Counted: func(name string, n int64) { told = append(told, fmt.Sprint(text, " ", name, n)) },
		}
	}
	both := core.JoinHooks(note("a"), core.Hooks{}, note("b"))
	both.Duplicate(core.Activation{Identity: core.Identity{Key: "1"}}, core.Activation{Identity: core.Identity{Key: "2"}})
	both.Timed("t", time.Second, nil)
	both.Counted("c", 3)
	want := "[a duplicate 12 b duplicate 12 a t1s <nil> b t1s <nil> a c3 b c3]"
	if got := fmt.Sprint(told); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	some := core.JoinHooks(core.Hooks{Counted: note("x").Counted})
	if some.Duplicate != nil || some.Timed != nil || some.Counted == nil {
		t.Error("fields that are nil in all must stay nil, others not")
	}
	if none := core.JoinHooks(); none.Duplicate != nil || none.Timed != nil || none.Counted != nil {
		t.Error("no hooks became some")
	}
}

func TestSystemClock(t *testing.T) {
	var c core.SystemClock
	before, elapsed := c.Now(), c.Elapsed()
	fired := make(chan struct{})
	c.AfterFunc(time.Millisecond, func() { close(fired) })
	<-fired
	if c.Now().Sub(before) < time.Millisecond || c.Elapsed()-elapsed < time.Millisecond {
		t.Errorf("after 1 ms Now has gone on by %v, Elapsed by %v", c.Now().Sub(before), c.Elapsed()-elapsed)
	}
	if off := (c.Elapsed() - elapsed) - c.Now().Sub(before); off.Abs() > time.Second {
		t.Errorf("the two clocks are %v apart", off)
	}
	stop := c.AfterFunc(time.Hour, func() { t.Error("stopped, and it ran") })
	if !stop() || stop() {
		t.Error("stop tells whether it came in time")
	}
}
