package clustertest

import (
	"testing"
	"testing/synctest"
	"time"
)

// Intervals of a clock do not notice that its wall clock jumps, and notice that it runs fast.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{started: time.Now()}
		begin := c.Now()
		c.shift(time.Hour)
		time.Sleep(time.Second)
		now := c.Now()
		if now.Sub(begin) != time.Second || c.Elapsed() != time.Second {
			t.Errorf("a second took %v, %v", now.Sub(begin), c.Elapsed())
		}
		if wall := now.Round(0).Sub(begin.Round(0)); wall != time.Hour+time.Second {
			t.Errorf("the wall clock went on by %v", wall)
		}
		if now.Year() != 2000 || now.Add(time.Minute).Sub(now) != time.Minute {
			t.Errorf("a time without sense: %v", now)
		}
		c.run(1.25)
		fired := make(chan struct{})
		c.AfterFunc(time.Second, func() { close(fired) })
		before := time.Now()
		<-fired
		if took := time.Since(before); took < 800*time.Millisecond || took > 801*time.Millisecond {
			t.Errorf("a second of a fast clock took %v", took)
		}
		if d := c.Elapsed(); d < 2*time.Second || d > 2*time.Second+time.Millisecond {
			t.Errorf("%v have passed", d)
		}
	})
}
