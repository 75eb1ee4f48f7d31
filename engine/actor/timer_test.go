package actor_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/engine/actor"
)

// inBubble runs f in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, s *actor.System)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newSystem(t)) })
}

func TestAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		began := time.Now()
		var at []time.Duration
		ref := spawn(t, s, func(c *actor.Context) {
			if _, ok := c.Message().(actor.Started); !ok {
				return
			}
			note := func(*actor.Context) { at = append(at, time.Since(began)) }
			c.After(2*time.Second, note)
			c.After(time.Second, note)
			c.After(0, note)
			stop := c.After(time.Second, func(*actor.Context) { t.Error("a stopped timer ran") })
			stop()
			stop()
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := ref.StopWait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("ran at %v; want %v", at, want)
		}
	})
}

func TestEveryDoesNotDriftAndLeavesOutWhatWasMissed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		began := time.Now()
		var at []time.Duration
		var stop func()
		spawn(t, s, func(c *actor.Context) {
			if _, ok := c.Message().(actor.Started); !ok {
				return
			}
			c.Every(0, func(*actor.Context) { t.Error("Every(0) ran") })
			stop = c.Every(time.Second, func(*actor.Context) {
				at = append(at, time.Since(began))
				switch len(at) {
				case 2:
					time.Sleep(2500 * time.Millisecond) // a slow turn: 3 s and 4 s are late
				case 5:
					stop()
				}
			})
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{1000, 2000, 4500, 5000, 6000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(at, want) {
			t.Errorf("ran at %v; want %v", at, want)
		}
	})
}

func TestTimersEndWithTheIncarnation(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		starts := 0
		ref := spawn(t, s, func(c *actor.Context) {
			switch m := c.Message().(type) {
			case actor.Started:
				if starts++; starts > 1 {
					return
				}
				c.After(time.Second, func(*actor.Context) { t.Error("a timer of an earlier incarnation ran") })
				c.Every(time.Second, func(*actor.Context) { t.Error("a ticker of an earlier incarnation ran") })
				c.SetReceiveTimeout(time.Second)
			case actor.ReceiveTimeout:
				t.Error("the receive timeout of an earlier incarnation came")
			case string:
				panic(m)
			}
		})
		_ = ref.Tell("x")
		time.Sleep(time.Minute)
		synctest.Wait()
		if starts != 2 {
			t.Errorf("%d incarnations; want 2", starts)
		}
	})
}

func TestPanicInATimerIsTheActorsFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		starts := 0
		spawn(t, s, func(c *actor.Context) {
			if _, ok := c.Message().(actor.Started); ok {
				if starts++; starts < 3 {
					c.After(time.Second, func(*actor.Context) { panic("timer") })
				}
			}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if starts != 3 {
			t.Errorf("%d incarnations; want 3", starts)
		}
	})
}

type quiet struct{}

func (quiet) NoReset() {}

func TestReceiveTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		began := time.Now()
		var at []time.Duration
		ref := spawn(t, s, func(c *actor.Context) {
			switch c.Message().(type) {
			case actor.Started:
				c.SetReceiveTimeout(10 * time.Second)
			case actor.ReceiveTimeout:
				if at = append(at, time.Since(began)); len(at) == 3 {
					c.SetReceiveTimeout(0)
				}
			}
		})
		time.Sleep(6 * time.Second)
		_ = ref.Tell("activity")
		time.Sleep(6 * time.Second)
		_ = ref.Tell(quiet{}) // does not count
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{16 * time.Second, 26 * time.Second, 36 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("timeouts at %v; want %v", at, want)
		}
	})
}

func TestReceiveTimeoutIsNotDueWhileMessagesWait(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		var got []any
		ref := spawn(t, s, func(c *actor.Context) {
			switch m := c.Message().(type) {
			case actor.Started:
				c.SetReceiveTimeout(time.Second)
			case actor.ReceiveTimeout:
				got = append(got, "timeout")
				c.SetReceiveTimeout(0)
			case time.Duration:
				time.Sleep(m)
				got = append(got, m)
			}
		})
		_ = ref.Tell(5 * time.Second)
		_ = ref.Tell(time.Duration(0))
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []any{5 * time.Second, time.Duration(0), "timeout"}; !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
	})
}

// The silence is over when a message waits, even if the actor has not come to it.
func TestReceiveTimeoutAfterALongNudge(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		var got []any
		ref := spawn(t, s, func(c *actor.Context) {
			switch m := c.Message().(type) {
			case actor.Started:
				c.SetReceiveTimeout(time.Second)
			case actor.ReceiveTimeout:
				got = append(got, "timeout")
				c.SetReceiveTimeout(0)
			case time.Duration:
				time.Sleep(m)
			case string:
				got = append(got, m)
			}
		})
		_ = s.Nudge(ref, 5*time.Second)
		time.Sleep(time.Millisecond)
		_ = ref.Tell("message")
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []any{"message", "timeout"}; !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
	})
}

// Timers that ran leave nothing behind in an actor that lives on.
func TestTimersThatRanAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		ref := spawn(t, s, func(c *actor.Context) {
			if n, ok := c.Message().(int); ok {
				for range n {
					c.After(time.Millisecond, noop)
					c.After(time.Hour, noop)()
				}
				_ = c.Respond(n)
			}
		})
		ask(t, ref, 1000)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := actor.Timers(ref); n != 0 {
			t.Errorf("%d timers are kept", n)
		}
	})
}

// The faults of passivation: a message that comes as the idle time ends is neither lost, nor handled
// after Stopped, nor handled while the actor stops elsewhere.
func TestPassivationLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		for delay := 950 * time.Millisecond; delay <= 1050*time.Millisecond; delay += 10 * time.Millisecond {
			handled, stopped, inside := 0, false, false
			ref := spawn(t, s, func(c *actor.Context) {
				if inside {
					t.Error("a message while another is handled")
				}
				inside = true
				defer func() { inside = false }()
				switch c.Message().(type) {
				case actor.Started:
					c.SetReceiveTimeout(time.Second)
				case actor.ReceiveTimeout:
					time.Sleep(20 * time.Millisecond) // others send meanwhile
					c.StopIfIdle()
				case actor.Stopped:
					stopped = true
				case int:
					time.Sleep(50 * time.Millisecond)
					if handled++; stopped {
						t.Error("handled after Stopped")
					}
					_ = c.Respond(handled)
				}
			})
			time.Sleep(delay)
			accepted := 0
			for i := range 20 {
				time.Sleep(3 * time.Millisecond)
				if ref.Tell(i) == nil {
					accepted++
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if !stopped || handled != accepted {
				t.Errorf("after %v: stopped %v, accepted %d, handled %d", delay, stopped, accepted, handled)
			}
		}
	})
}
