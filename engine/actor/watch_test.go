package actor_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// farAway takes the messages of the runtime for processes of other members.
type farAway struct {
	told func(target core.PID, m actor.SystemMessage)
	err  error
}

func (f farAway) Send(core.PID, actor.Envelope) error { return nil }
func (f farAway) SendSystem(target core.PID, m actor.SystemMessage) error {
	if f.told != nil {
		f.told(target, m)
	}
	return f.err
}

func pidOfFar(i int) core.PID {
	return core.PID{Address: "far:1", Member: "far", ID: fmt.Sprintf("w%07d", i)}
}

// TestManyWatchers: 65,536 watchers of one actor cost no more each than one, and each is told once.
func TestManyWatchers(t *testing.T) {
	s := newSystem(t)
	var told atomic.Int64
	s.SetRemote(func(core.PID) (actor.Process, error) {
		return farAway{told: func(core.PID, actor.SystemMessage) { told.Add(1) }}, nil
	})
	ref := spawn(t, s, noop)
	const n = 65_536
	began := time.Now()
	for range 2 { // a second watch of one watcher is none
		for i := range n {
			if err := ref.SendSystem(&actor.Watch{Watcher: s.Ref(pidOfFar(i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range n / 2 {
		if err := ref.SendSystem(&actor.Unwatch{Watcher: s.Ref(pidOfFar(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ref.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if told.Load() != n/2 {
		t.Errorf("%d watchers were told, want %d", told.Load(), n/2)
	}
	if took := time.Since(began); took > 30*time.Second { // with a list to search it takes minutes
		t.Errorf("it took %v", took)
	}
}

// TestWatchFloodOfABlockedActor: watches that come and go while an actor is busy leave nothing behind.
func TestWatchFloodOfABlockedActor(t *testing.T) {
	s := newSystem(t)
	hold, busy := make(chan bool), make(chan bool)
	ref := spawn(t, s, func(c *actor.Context) {
		if c.Message() == "block" {
			close(busy)
			<-hold
		}
	})
	_ = ref.Tell("block")
	<-busy
	before := inUse()
	for i := range 300_000 {
		w := s.Ref(pidOfFar(i))
		if ref.SendSystem(&actor.Watch{Watcher: w}) != nil || ref.SendSystem(&actor.Unwatch{Watcher: w}) != nil {
			t.Fatal("refused")
		}
	}
	if grown := inUse() - before; grown > 8<<20 {
		t.Errorf("%d KiB are held for watches that were taken back", grown>>10)
	}
	close(hold)
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestWatchersHearInOrder: the order of those who are told is the same in every run.
func TestWatchersHearInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		var got []string
		s.SetRemote(func(core.PID) (actor.Process, error) {
			return farAway{told: func(target core.PID, _ actor.SystemMessage) { got = append(got, target.ID) }}, nil
		})
		ref := spawn(t, s, noop)
		for _, i := range []int{5, 3, 9, 1, 7, 0, 2} {
			_ = ref.SendSystem(&actor.Watch{Watcher: s.Ref(pidOfFar(i))})
		}
		_ = ref.StopWait(t.Context())
		synctest.Wait()
		if len(got) != 7 || !slices.IsSorted(got) {
			t.Errorf("told in the order %v", got)
		}
	})
}

// TestWatchThatIsRefused: a watch that cannot be placed is answered with the reason.
func TestWatchThatIsRefused(t *testing.T) {
	for _, row := range []struct {
		err  error
		want actor.TerminatedReason
	}{
		{core.ErrOverloaded, actor.TerminatedUnwatchable}, {core.ErrUnsupported, actor.TerminatedUnwatchable},
		{core.ErrInvalid, actor.TerminatedUnwatchable},
		{core.ErrUnreachable, actor.TerminatedUnreachable}, {core.ErrStopped, actor.TerminatedNotFound},
	} {
		s := newSystem(t)
		s.SetRemote(func(core.PID) (actor.Process, error) { return farAway{err: row.err}, nil })
		told := make(chan actor.TerminatedReason, 1)
		spawn(t, s, func(c *actor.Context) {
			switch m := c.Message().(type) {
			case actor.Started:
				c.Watch(s.Ref(pidOfFar(1)))
			case *actor.Terminated:
				told <- m.Why
			}
		})
		if why := recv(t, told); why != row.want {
			t.Errorf("%v: told %v, want %v", row.err, why, row.want)
		}
	}
	if got := actor.TerminatedUnwatchable.String(); got != "unwatchable" {
		t.Errorf("name %q", got)
	}
}
