package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// leaveGracefully is the part of a stop that others see: peers learn that this member leaves, then
// what runs here ends in order.
func (n *Node) leaveGracefully(ctx context.Context) error {
	if n.fenced.Load() {
		return nil
	}
	return errors.Join(n.announceLeaving(ctx), n.drainAll(ctx))
}

// announceLeaving stores the status Leaving and waits until every Up member has seen it, so that
// nobody places anything here any more.
func (n *Node) announceLeaving(ctx context.Context) error {
	n.cfg.Seams.Step("stop.announce")
	tell, cancel := n.withTimeout(ctx, n.cfg.StopTimeout/10)
	err := n.setStatus(tell, core.Leaving)
	cancel()
	if err != nil {
		return fmt.Errorf("status leaving: %w", err)
	}
	n.cfg.Seams.Step("stop.seen")
	seen, cancel := n.withTimeout(ctx, min(n.cfg.StopTimeout/5, seenWait))
	defer cancel()
	left := func(v *core.View) bool { return leaves(v, n.id) }
	if err := n.await(seen, left); err != nil {
		return fmt.Errorf("this member's own view does not show that it leaves: %w", err)
	}
	var wg sync.WaitGroup
	for m := range n.View().All() {
		if m.ID == n.id || m.Status != core.Up {
			continue
		}
		wg.Add(1)
		n.group.Go("leaving", func() {
			defer wg.Done()
			// A peer that does not answer in time has a view of its own making; the calls that it
			// still sends here are refused as not delivered.
			_, _ = n.request(seen, m, processView, &wireEnvelope{typ: typeProcess, message: core.Message{Type: messageSeen, Data: []byte(n.id)}})
		})
	}
	wg.Wait()
	return nil
}

// messageSeen asks whether the installed view shows that the member named in it leaves.
const messageSeen = "granary.LeavingSeen"

// seenWait is how long a question waits for its answer, and seenWaiting how many of one member do.
const (
	seenWait    = 2 * time.Second
	seenWaiting = 2
)

// handleSeen answers once this node's view shows that a member leaves.
func (n *Node) handleSeen(ctx context.Context, from core.Member, _ *stamp, m core.Message) (core.Message, error) {
	if m.Type != messageSeen || core.MemberID(m.Data) != from.ID {
		return core.Message{}, fmt.Errorf("cluster: %s takes questions of a member about itself: %w", processView, core.ErrInvalid)
	}
	if !n.seen.take(from.ID) {
		return core.Message{}, core.Retry(fmt.Errorf("cluster: %s: %d questions of member %s wait already: %w", processView, seenWaiting, from.ID, core.ErrOverloaded), retryLimit)
	}
	defer n.seen.give(from.ID)
	n.refresh()
	ctx, cancel := n.withTimeout(ctx, seenWait)
	defer cancel()
	err := n.await(ctx, func(v *core.View) bool { return leaves(v, from.ID) })
	return core.Message{Type: messageSeen}, err
}

// seats counts who waits here, so that one member cannot take the places of all.
type seats struct {
	mu    sync.Mutex
	taken map[core.MemberID]int
}

func (s *seats) take(id core.MemberID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[id] >= seenWaiting {
		return false
	}
	if s.taken == nil {
		s.taken = map[core.MemberID]int{}
	}
	s.taken[id]++
	return true
}

func (s *seats) give(id core.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[id]--; s.taken[id] == 0 {
		delete(s.taken, id)
	}
}

// leaves reports whether v shows that nothing is placed on the member any more.
func leaves(v *core.View, id core.MemberID) bool {
	m, there := v.Member(id)
	return !there || m.Status == core.Leaving
}
