package viewkeeper

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/providertest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// ttl is that of leases here.
const ttl = 2 * time.Second

// shelf is a backend in memory, with the faults that real ones have.
type shelf struct {
	watches bool // it takes leases away by itself

	mu      sync.Mutex
	record  []byte
	id      string
	at      int
	news    chan struct{}
	leases  map[core.MemberID]uint64
	renewed map[core.MemberID]time.Time
	away    error // of every call
	silent  bool  // Await tells of nothing
}

func newShelf(watches bool) *shelf {
	return &shelf{watches: watches, news: make(chan struct{}), leases: map[core.MemberID]uint64{}, renewed: map[core.MemberID]time.Time{}}
}

func (s *shelf) Watches() bool { return s.watches }

// open locks the shelf and lets leases run out.
func (s *shelf) open(ctx context.Context) error {
	s.mu.Lock()
	for id, at := range s.renewed {
		if s.watches && time.Since(at) > ttl {
			delete(s.leases, id)
			delete(s.renewed, id)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.away
}

func (s *shelf) changed() {
	s.at++
	if !s.silent {
		close(s.news)
		s.news = make(chan struct{})
	}
}

func (s *shelf) Read(ctx context.Context) (Snapshot, error) {
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return Snapshot{}, err
	}
	return Snapshot{Record: s.record, Mark: fmt.Sprint(s.at), Leases: maps.Clone(s.leases)}, nil
}

func (s *shelf) Write(ctx context.Context, old string, next core.Topology, record []byte) error {
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	if s.id != old {
		return core.ErrConflict
	}
	for _, m := range next.Joined {
		s.extend(m.ID)
	}
	for _, m := range next.Left {
		delete(s.leases, m.ID)
		delete(s.renewed, m.ID)
	}
	s.record, s.id = record, next.View.Record().WriteID
	s.changed()
	return nil
}

func (s *shelf) extend(id core.MemberID) {
	s.leases[id]++
	s.renewed[id] = time.Now()
}

func (s *shelf) Lease(ctx context.Context, id core.MemberID) error {
	defer s.mu.Unlock()
	err := s.open(ctx)
	if err == nil {
		s.extend(id)
	}
	return err
}

func (s *shelf) Renew(ctx context.Context, id core.MemberID) error {
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	if _, held := s.leases[id]; !held {
		return core.ErrEvicted
	}
	s.extend(id)
	return nil
}

func (s *shelf) Release(ctx context.Context, id core.MemberID) error {
	defer s.mu.Unlock()
	err := s.open(ctx)
	if err == nil {
		delete(s.leases, id)
		delete(s.renewed, id)
	}
	return err
}

func (s *shelf) Await(ctx context.Context, seen Snapshot) error {
	s.mu.Lock()
	news, at := s.news, fmt.Sprint(s.at)
	s.mu.Unlock()
	if at != seen.Mark {
		return nil
	}
	select {
	case <-news:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outage makes every call fail until back.
func (s *shelf) outage() (back func()) {
	set := func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.away = err
	}
	set(core.ErrUnreachable)
	return func() { set(nil) }
}

// wipe takes everything away.
func (s *shelf) wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record, s.id = nil, ""
	clear(s.leases)
	clear(s.renewed)
	s.changed()
}

// crashing is a provider whose way to the backend can be cut for good.
type crashing struct {
	*Provider
	cut *severed
}

// severed passes on until it is cut.
type severed struct {
	Backend
	mu  sync.Mutex
	off bool
}

func (s *severed) through() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return core.ErrUnreachable
	}
	return nil
}

func (s *severed) Read(ctx context.Context) (Snapshot, error) {
	if err := s.through(); err != nil {
		return Snapshot{}, err
	}
	return s.Backend.Read(ctx)
}

func (s *severed) Write(ctx context.Context, old string, next core.Topology, record []byte) error {
	if err := s.through(); err != nil {
		return err
	}
	return s.Backend.Write(ctx, old, next, record)
}

func (s *severed) Renew(ctx context.Context, id core.MemberID) error {
	if err := s.through(); err != nil {
		return err
	}
	return s.Backend.Renew(ctx, id)
}

func (s *severed) Release(ctx context.Context, id core.MemberID) error {
	if err := s.through(); err != nil {
		return err
	}
	return s.Backend.Release(ctx, id)
}

func harness(watches, silent bool) providertest.Harness {
	return providertest.Harness{
		New: func(testing.TB) providertest.World {
			b := newShelf(watches)
			b.silent = silent
			return providertest.World{
				Provider: func() core.Provider {
					cut := &severed{Backend: b}
					promises := core.Promises{Ordered: true, Linearizable: true, Leases: true}
					return crashing{New(Config{Name: "shelf", Promises: promises, TTL: ttl}, cut), cut}
				},
				Crash: func(p core.Provider) {
					cut := p.(crashing).cut
					cut.mu.Lock()
					cut.off = true
					cut.mu.Unlock()
				},
				Outage: b.outage,
				Wipe:   b.wipe,
			}
		},
		Bubble: true,
	}
}

func TestConformance(t *testing.T) {
	t.Run("leases counted by members", func(t *testing.T) { providertest.Run(t, harness(false, false)) })
	t.Run("leases watched by the backend", func(t *testing.T) { providertest.Run(t, harness(true, false)) })
	t.Run("a watch that tells nothing", func(t *testing.T) { providertest.Run(t, harness(false, true)) })
}
