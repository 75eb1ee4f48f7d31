package clustertest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// scene is a cluster with one counter that runs somewhere.
type scene struct {
	*clustertest.Cluster
	t    *testing.T
	id   core.Identity
	host int // index of the node that runs the counter
	peer int // of another one
}

func (s *scene) add(i int, limit time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	return grain.Call[int](ctx, s.Node(i), s.id, "Add", 1)
}

func (s *scene) wants(i int, want ...int) {
	s.t.Helper()
	if got, err := s.add(i, 5*time.Second); err != nil || !slices.Contains(want, got) {
		s.t.Errorf("call from n%d: %d, %v; want %d", i, got, err, want)
	}
}

// fails holds that a call by the peer ends by its deadline.
func (s *scene) fails() {
	s.t.Helper()
	if n, err := s.add(s.peer, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		s.t.Errorf("call: %d, %v; want a deadline", n, err)
	}
}

func inScene(t *testing.T, f func(s *scene)) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, id: clustertest.Identities("Counter", 1)[0]}
		s.Cluster = clustertest.Start(t, clustertest.Config{
			Kinds: grain.Kinds{counterKind()}, Hub: memory.Config{TTL: 2 * time.Second},
			ProviderDelay: func(i int) time.Duration { return time.Duration(i+1) * time.Millisecond },
		})
		s.Agree()
		s.wants(0, 1)
		s.host = slices.IndexFunc(s.Nodes(), func(n *cluster.Node) bool { return n == s.Hosts(s.id)[0] })
		s.peer = (s.host + 1) % 3
		f(s)
	})
}

func (s *scene) other() int { return 3 - s.host - s.peer }

// What each fault does to the calls of a user's grain, and that its end heals it.
func TestFaultsOnAGrain(t *testing.T) {
	for name, f := range map[string]func(s *scene){
		"cut": func(s *scene) {
			s.Cut(s.host, s.peer)
			s.fails()
			s.wants(s.other(), 2)
			s.Heal(s.host, s.peer)
			s.wants(s.peer, 3, 4) // the call that was held has arrived too, and perhaps that it was given up before it ran
		},
		"one way": func(s *scene) {
			s.CutOneWay(s.host, s.peer) // requests arrive, answers do not
			s.fails()
			s.wants(s.other(), 3)
			s.Heal(s.host, s.peer)
			s.wants(s.peer, 4)
		},
		"partition": func(s *scene) {
			s.Partition([]int{s.host, s.other()}, []int{s.peer})
			s.fails()
			s.wants(s.other(), 2)
			s.HealAll()
			s.wants(s.peer, 3, 4)
		},
		"slow": func(s *scene) {
			s.Slow(s.host, s.peer, 300*time.Millisecond)
			began := time.Now()
			s.wants(s.peer, 2)
			if took := time.Since(began); took < 600*time.Millisecond {
				s.t.Errorf("a call took %v over a link that takes 300 ms each way", took)
			}
			s.Slow(s.host, s.peer, 0)
		},
		"drop": func(s *scene) {
			time.AfterFunc(50*time.Millisecond, func() { s.Drop(s.host, s.peer) })
			s.Slow(s.host, s.peer, 100*time.Millisecond)
			if _, err := s.add(s.peer, 2*time.Second); !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.DeliveryUnknown {
				s.t.Errorf("a call whose connection was lost: %v, want an unknown outcome", err)
			}
			s.Slow(s.host, s.peer, 0)
			s.Eventually(func() error { _, err := s.add(s.peer, time.Second); return err })
		},
		"pause": func(s *scene) {
			s.Pause(s.host)
			s.fails()
			s.Resume(s.host)
			s.wants(s.peer, 2, 3)
			if v := s.Agree(); v.Len() != 3 {
				s.t.Errorf("%d members after a short pause", v.Len())
			}
		},
		"kill": func(s *scene) {
			s.Kill(s.host)
			s.Agree()
			s.wants(s.peer, 1) // elsewhere, anew
			s.Restart(s.host)
			if v := s.Agree(); v.Len() != 3 || s.Node(3).Address() != s.Node(s.host).Address() {
				s.t.Errorf("%d members, the new one at %s", v.Len(), s.Node(3).Address())
			}
		},
		"provider": func(s *scene) {
			s.Outage()
			time.Sleep(time.Second)
			s.wants(s.peer, 2)
			s.HealAll()
			s.StaleProvider(s.peer)
			s.wants(s.peer, 3)
			s.FreshProvider(s.peer)
			if v := s.Agree(); v.Len() != 3 {
				s.t.Errorf("%d members after an outage", v.Len())
			}
		},
		"clock": func(s *scene) {
			s.SetClock(s.host, time.Hour)
			s.SetRate(s.peer, 1.1)
			time.Sleep(time.Minute)
			s.SetClock(s.host, -time.Hour)
			s.SetRate(s.peer, 0.9)
			time.Sleep(time.Minute)
			s.wants(s.peer, 2)
			if v := s.Agree(); v.Len() != 3 {
				s.t.Errorf("%d members", v.Len())
			}
		},
	} {
		t.Run(name, func(t *testing.T) { inScene(t, f) })
	}
}
