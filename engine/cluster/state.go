package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// The bounds of gossiped state. They are not settings: what one member accepts and another refuses would
// never reach all.
const (
	// MaxStateKeys is the number of keys of one member, the engine's own among them.
	MaxStateKeys = gossip.MaxKeys
	// MaxStateValue is the number of bytes of one value.
	MaxStateValue = gossip.MaxValue
)

// The reasons for which SetState refuses; both are core.ErrInvalid too.
const (
	ErrStateKeys = gossip.ErrTooMany  // the member has MaxStateKeys keys, and this is another
	ErrStateSize = gossip.ErrTooLarge // more than MaxStateValue bytes, or a key of more than 256
)

// StateValue is the value of one key of one member.
type StateValue struct {
	Key string
	// Version orders the writes of a member, over all its keys.
	Version uint64
	// Message is the value as it travels; DecodeState reads it.
	Message core.Message
}

// SetState has this member say value under key: every member and every client will know it, within a
// few rounds of gossip, as long as this member is in the view. There is one value for each key of each
// member; a later one takes the place of an earlier. It is for small things that change now and then: at
// most 60 keys, 64 KiB a value.
//
// A value is a protobuf message, a []byte, a string, a core.Message, or whatever encoding/json can write;
// it may be changed afterwards. The reader names the same type. Keys that begin with "$" and "topology",
// "heartbeat", "left" and "blocked" are the engine's.
//
// It waits until the value is in force here, which takes no time to speak of; that is no promise that
// anybody else knows it. What is refused counts as "cluster.gossip.refused". Errors: ErrStateKeys,
// ErrStateSize, core.ErrInvalid (the key, or a value that cannot be written), core.ErrUnsupported (a
// client reads only: what it set would be kept by all members on the word of one that is none of them), core.ErrStopped (before Start or after Stop), the cause of ctx.
func (n *Node) SetState(ctx context.Context, key string, value any) error {
	message, err := stateMessage(value)
	if err == nil {
		err = n.checkSet(key, message)
	}
	if err == nil {
		err = n.gossip.set(ctx, key, message)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, core.ErrInvalid) {
		n.gossip.countRefused(1)
	}
	return fmt.Errorf("cluster: set state %.80q: %w", key, err)
}

func (n *Node) checkSet(key string, value core.Message) error {
	if n.cfg.Client {
		return fmt.Errorf("a client reads state, it sets none; set it on a member, or call a grain that does: %w", core.ErrUnsupported)
	}
	if strings.HasPrefix(key, "$") || slices.Contains(engineKeys(), key) {
		return fmt.Errorf("the key is the engine's own: %w", core.ErrInvalid)
	}
	return gossip.CheckSet(key, value)
}

func engineKeys() []string {
	return []string{gossip.KeyTopology, gossip.KeyHeartbeat, gossip.KeyLeft, gossip.KeyBlocked}
}

// set writes an own key and waits until it is in force.
func (g *gossiper) set(ctx context.Context, key string, value core.Message) error {
	done := make(chan error, 1)
	if !g.running.Load() || !g.post(func() { done <- g.setNow(key, value) }) {
		return fmt.Errorf("the node is not running: %w", core.ErrStopped)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// setNow writes an own key; only the owner calls it.
func (g *gossiper) setNow(key string, value core.Message) error {
	g.unset = nil
	g.step(gossip.Set{Key: key, Value: value})
	return g.unset
}

// State is what a member says under key, the engine's keys included; false: nothing is known. The data is
// the caller's own. It does not block, and is what has reached this node: others may know more or less.
func (n *Node) State(member core.MemberID, key string) (StateValue, bool) {
	v, ok := n.gossip.states.get(member, key)
	return stateValue(v), ok
}

func stateValue(v gossip.Value) StateValue {
	return StateValue{Key: v.Key, Version: v.Version, Message: core.Message{Type: v.Message.Type, Data: bytes.Clone(v.Message.Data)}}
}

// StateKeys lists the keys under which a member says something, in order, the engine's included.
func (n *Node) StateKeys(member core.MemberID) []string { return n.gossip.states.keys(member) }

// StateOf is what each member of the view says under key, by member; those that say nothing are left out.
// So are those whose value is no T: the error, a core.ErrInvalid, names them, and the others are valid.
func StateOf[T any](n *Node, key string) (map[core.MemberID]T, error) {
	out := map[core.MemberID]T{}
	var errs []error
	for member, v := range n.gossip.states.all(key) {
		value, err := DecodeState[T](v.Message)
		if err != nil {
			errs = append(errs, fmt.Errorf("cluster: state %.80q of member %s: %w", key, member, err))
			continue
		}
		out[member] = value
	}
	return out, errors.Join(errs...)
}

// states is what is known, as everybody may read it. Safe for concurrent use.
type states struct {
	mu      sync.RWMutex
	by      map[core.MemberID]map[string]gossip.Value
	watches map[*watch]struct{}
	closed  bool
}

func (s *states) get(member core.MemberID, key string) (gossip.Value, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.by[member][key]
	return v, ok
}

func (s *states) keys(member core.MemberID) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.by[member]))
}

func (s *states) all(key string) map[core.MemberID]gossip.Value {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[core.MemberID]gossip.Value{}
	for member, values := range s.by {
		if v, ok := values[key]; ok {
			out[member] = v
		}
	}
	return out
}

// changed takes a new value and tells those who follow the key.
func (s *states) changed(e gossip.Changed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[core.MemberID]map[string]gossip.Value{}
	}
	if s.by[e.Member] == nil {
		s.by[e.Member] = map[string]gossip.Value{}
	}
	v := gossip.Value{Key: e.Key, Version: e.Version, Message: e.Value}
	s.by[e.Member][e.Key] = v
	for w := range s.watches {
		if w.key == e.Key {
			w.offer(e.Member, v)
		}
	}
}

// gone forgets a member.
func (s *states) gone(member core.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, member)
	for w := range s.watches {
		w.drop(member)
	}
}
