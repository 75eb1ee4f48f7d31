package connguard

import (
	"sync"
	"sync/atomic"
	"time"
)

// Budget bounds the bytes that are held for all clients together. Safe for concurrent use.
type Budget struct {
	limit, each int64
	used        atomic.Int64
	shares      atomic.Int64 // clients' connections

	mu   sync.Mutex
	gone map[*Share]time.Time // of connections that have ended and hold something, and when
}

// NewBudget returns a budget of limit bytes in all, and of each for one connection.
func NewBudget(limit, each int) *Budget {
	return &Budget{limit: int64(limit), each: int64(each), gone: map[*Share]time.Time{}}
}

// Over reports whether more is held than there may be.
func (b *Budget) Over() bool { return b.used.Load() > b.limit }

// Used is what is held.
func (b *Budget) Used() int64 { return b.used.Load() }

// Share is what one connection has of a Budget, all its streams together. Safe for concurrent use.
type Share struct {
	all  *Budget
	used atomic.Int64 // far below zero: written off
}

// writtenOff is below whatever a share may hold.
const writtenOff = -1 << 62

// Share begins the share of one more connection, which Leave ends.
func (b *Budget) Share() *Share {
	b.shares.Add(1)
	return &Share{all: b}
}

// Leave says that the connection is no more. What is held stays counted until it is given back, or Sweep
// finds that nobody will.
func (s *Share) Leave(now time.Time) {
	s.all.shares.Add(-1)
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.gone[s] = now
}

// Sweep gives back what connections hold that ended age ago, and reports whether others are left.
func (b *Budget) Sweep(now time.Time, age time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s, since := range b.gone {
		if s.used.Load() <= 0 || now.Sub(since) >= age {
			s.writeOff()
			delete(b.gone, s)
		}
	}
	return len(b.gone) > 0
}

// Take counts n bytes; bounds are asked for by Room, Full and Budget.Over.
func (s *Share) Take(n int) {
	if s.used.Add(int64(n)) > writtenOff/2 {
		s.all.used.Add(int64(n))
	}
}

// Give takes back what Take has counted.
func (s *Share) Give(n int) {
	if s.used.Add(int64(-n)) > writtenOff/2 {
		s.all.used.Add(int64(-n))
	}
}

// writeOff gives back whatever is left; nothing is counted from then on.
func (s *Share) writeOff() {
	if left := s.used.Swap(writtenOff); left > 0 {
		s.all.used.Add(-left)
	}
}

// Held is what the connection holds.
func (s *Share) Held() int64 { return max(s.used.Load(), 0) }

// Room reports whether a request of n bytes may come in. A quarter of every bound is kept for answers. Where
// three quarters of the whole are used, each connection has its part of the last one, so that nobody is
// kept out by what others hold.
func (s *Share) Room(n int) bool {
	own, all := s.used.Load()+int64(n), s.all.used.Load()+int64(n)
	return own <= s.all.each/4*3 && (all <= s.all.limit/4*3 || own <= s.all.limit/4/max(s.all.shares.Load(), 1))
}

// Full reports whether the connection holds more than one may.
func (s *Share) Full() bool { return s.used.Load() > s.all.each }

// Over reports whether all together hold more than they may.
func (s *Share) Over() bool { return s.all.Over() }
