package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

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
// anybody else knows it. What is refused counts as "cluster.gossip.refused".
//
// A client sets no state: it reads, by State, StateOf and WatchState, what members set. What it set would be
// kept by all members on the word of one that is none of them, and the role of a client is to call grains and
// nothing else; let it call one that sets the key on a member.
//
// Errors: ErrStateKeys, ErrStateSize, core.ErrInvalid (the key, or a value that cannot be written),
// core.ErrUnsupported (on a client), core.ErrStopped (before Start or after Stop), the cause of ctx.
func (n *Node) SetState(ctx context.Context, key string, value any) error {
	message, err := stateMessage(value)
	if err == nil {
		err = n.checkSet(key, message)
	}
	if err == nil {
		err = n.gossip.write(ctx, gossip.Set{Key: key, Value: message})
	}
	if err == nil {
		return nil
	}
	return n.notSet("set", key, err)
}

// RemoveState has this member say nothing under key any more; that there is nothing to remove is no error.
// Every member and every client takes what it knew out, within a few rounds of gossip, and does not take it
// back from anybody who knows no better. The key may be set again at any time.
//
// The key counts against the bound of SetState until all members of the view have heard. Errors: as of
// SetState.
func (n *Node) RemoveState(ctx context.Context, key string) error {
	err := n.checkKey(key)
	if err == nil {
		err = n.gossip.write(ctx, gossip.Unset{Key: key})
	}
	if err == nil {
		return nil
	}
	return n.notSet("remove", key, err)
}

func (n *Node) notSet(what, key string, err error) error {
	if errors.Is(err, core.ErrInvalid) {
		n.gossip.countRefused(1)
	}
	return fmt.Errorf("cluster: %s state %.80q: %w", what, key, err)
}

func (n *Node) checkSet(key string, value core.Message) error {
	if err := n.checkKey(key); err != nil {
		return err
	}
	return gossip.CheckSet(key, value)
}

func (n *Node) checkKey(key string) error {
	if n.cfg.Client {
		return fmt.Errorf("a client reads state, it sets none; set it on a member, or call a grain that does: %w", core.ErrUnsupported)
	}
	if strings.HasPrefix(key, "$") || slices.Contains(engineKeys(), key) {
		return fmt.Errorf("the key is the engine's own: %w", core.ErrInvalid)
	}
	return nil
}

func engineKeys() []string {
	return []string{gossip.KeyTopology, gossip.KeyHeartbeat, gossip.KeyLeft, gossip.KeyBlocked}
}

// write has the machine write an own key, or remove it, and waits until that is in force.
func (g *gossiper) write(ctx context.Context, in gossip.Input) error {
	done := make(chan error, 1)
	if !g.running.Load() || !g.post(func() { done <- g.writeNow(in) }) {
		return fmt.Errorf("the node is not running: %w", core.ErrStopped)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// writeNow is write; only the owner calls it.
func (g *gossiper) writeNow(in gossip.Input) error {
	g.unset = nil
	g.step(in)
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

// withdrawn takes a key out and tells those who follow it.
func (s *states) withdrawn(e gossip.Withdrawn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by[e.Member], e.Key)
	for w := range s.watches {
		if w.key == e.Key {
			w.drop(e.Member, e.Version)
		}
	}
}

// gone forgets a member.
func (s *states) gone(member core.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, member)
	for w := range s.watches {
		w.drop(member, 0)
	}
}

// typeJSON is the type of a value whose bytes are JSON text.
const typeJSON = "granary.JSON"

// stateMessage is a value as it travels. Protobuf messages go as they are, so that programs in other
// languages read them; texts and bytes as the wrappers that protobuf has for them.
func stateMessage(value any) (core.Message, error) {
	switch v := value.(type) {
	case core.Message:
		return core.Message{Type: v.Type, Data: bytes.Clone(v.Data)}, nil
	case proto.Message:
		return protoMessage(v)
	case string:
		return protoMessage(wrapperspb.String(v))
	case []byte:
		return protoMessage(wrapperspb.Bytes(v))
	}
	data, err := json.Marshal(value)
	if err != nil {
		return core.Message{}, fmt.Errorf("a value of type %T: %w: %w", value, err, core.ErrInvalid)
	}
	return core.Message{Type: typeJSON, Data: data}, nil
}

func protoMessage(m proto.Message) (core.Message, error) {
	if !m.ProtoReflect().IsValid() {
		return core.Message{}, fmt.Errorf("a value of type %T that is nil: %w", m, core.ErrInvalid)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return core.Message{}, fmt.Errorf("a value of type %T: %w: %w", m, err, core.ErrInvalid)
	}
	return core.Message{Type: string(m.ProtoReflect().Descriptor().FullName()), Data: data}, nil
}

// DecodeState reads a value as the T that it was set as: a pointer to a protobuf message, string, []byte,
// core.Message (the value as it travels), or anything that encoding/json reads. An error is a
// core.ErrInvalid.
func DecodeState[T any](m core.Message) (T, error) {
	var value T
	err := decodeState(m, &value)
	if err != nil {
		var none T
		return none, fmt.Errorf("a value of type %.80q as %T: %w", m.Type, value, err)
	}
	return value, nil
}

// decodeState reads m into what out points to.
func decodeState[T any](m core.Message, out *T) error {
	switch out := any(out).(type) {
	case *core.Message:
		*out = core.Message{Type: m.Type, Data: append([]byte(nil), m.Data...)}
		return nil
	case *string:
		var w wrapperspb.StringValue
		err := unmarshal(m, &w)
		*out = w.GetValue()
		return err
	case *[]byte:
		var w wrapperspb.BytesValue
		err := unmarshal(m, &w)
		*out = w.GetValue()
		return err
	}
	if p, ok := any(*out).(proto.Message); ok {
		fresh := p.ProtoReflect().New().Interface()
		*out, _ = fresh.(T)
		return unmarshal(m, fresh)
	}
	if m.Type != typeJSON {
		return fmt.Errorf("it is no JSON: %w", core.ErrInvalid)
	}
	if err := json.Unmarshal(m.Data, out); err != nil { // its text may quote a number of 64 KiB
		return fmt.Errorf("%.200v: %w", err, core.ErrInvalid)
	}
	return nil
}

// unmarshal reads m, which must be of the very type of into.
func unmarshal(m core.Message, into proto.Message) error {
	if want := string(into.ProtoReflect().Descriptor().FullName()); m.Type != want {
		return fmt.Errorf("want %s: %w", want, core.ErrInvalid)
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: 64}).Unmarshal(m.Data, into); err != nil {
		return fmt.Errorf("%w: %w", err, core.ErrInvalid)
	}
	return nil
}

// maxWatches bounds the StateWatches of one node.
const maxWatches = 1_024

// StateUpdate is one thing that a StateWatch tells.
type StateUpdate[T any] struct {
	Member  core.MemberID
	Value   T
	Version uint64 // it orders all writes of the member
	// Gone says that the member says nothing under the key any longer: it has removed it, and Version is that
	// of the removal; or it is in the view no more, or blocked, and Version is 0.
	Gone bool
}

// StateWatch follows one key of all members. It is made by WatchState. It is safe for concurrent use;
// what one call of Next returns no other does.
type StateWatch[T any] struct{ w *watch }

// WatchState follows key: first comes what each member says now, then every change. For each member only
// its latest value waits, so a slow reader misses what was overtaken and never the last; what waits is
// bounded by the number of members. It may be called before Start. End it with Stop. The error is
// core.ErrOverloaded (1,024 of them are open) or core.ErrStopped.
func WatchState[T any](n *Node, key string) (*StateWatch[T], error) {
	w := newWatch(n, key)
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("cluster: watch state %.80q: %w", key, err)
	}
	return &StateWatch[T]{w}, nil
}

// Next waits for the next update. An error that is core.ErrInvalid tells of a value that is no T; Member
// and Version of the update are set, and Next may be called again. The others are core.ErrStopped, once
// the watch or the node has stopped and all that waited was told, and the cause of ctx.
func (w *StateWatch[T]) Next(ctx context.Context) (StateUpdate[T], error) {
	u, err := w.w.next(ctx)
	out := StateUpdate[T]{Member: u.member, Version: u.value.Version, Gone: u.gone}
	if err == nil && !u.gone {
		out.Value, err = DecodeState[T](u.value.Message)
	}
	if err != nil {
		err = fmt.Errorf("cluster: state %.80q: %w", w.w.key, err)
	}
	return out, err
}

// Stop ends the watch, any number of times.
func (w *StateWatch[T]) Stop() { w.w.stop() }

// update is what waits for one reader about one member.
type update struct {
	member core.MemberID
	value  gossip.Value
	gone   bool
}

// watch follows one key. Its lock is below that of states.
type watch struct {
	s    *states
	key  string
	wake chan struct{}
	over chan struct{}
	dead <-chan struct{} // the node has stopped, maybe without having been started

	mu      sync.Mutex
	waiting map[core.MemberID]update
	order   []core.MemberID            // of waiting, as they came
	told    map[core.MemberID]struct{} // whom the reader takes for there
	ended   bool
}

func newWatch(n *Node, key string) *watch {
	return &watch{s: &n.gossip.states, dead: n.life.over, key: key, wake: make(chan struct{}, 1), over: make(chan struct{}), waiting: map[core.MemberID]update{}, told: map[core.MemberID]struct{}{}}
}

// open begins with what is known.
func (w *watch) open() error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	switch {
	case w.s.closed:
		return fmt.Errorf("the node has stopped: %w", core.ErrStopped)
	case len(w.s.watches) >= maxWatches:
		return fmt.Errorf("%d watches are open; stop some: %w", maxWatches, core.ErrOverloaded)
	case w.s.watches == nil:
		w.s.watches = map[*watch]struct{}{}
	}
	w.s.watches[w] = struct{}{}
	for _, member := range slices.Sorted(maps.Keys(w.s.by)) {
		if v, ok := w.s.by[member][w.key]; ok {
			w.offer(member, v)
		}
	}
	return nil
}

// offer has the reader told of a value.
func (w *watch) offer(member core.MemberID, v gossip.Value) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(update{member: member, value: v})
}

// drop has the reader told that a member says nothing any more, if the reader knows that it did.
func (w *watch) drop(member core.MemberID, version uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, told := w.told[member]; told {
		w.put(update{member: member, value: gossip.Value{Version: version}, gone: true})
		return
	}
	w.take(member)
}

// put has u wait in the place of an earlier one; mu is held, here and below.
func (w *watch) put(u update) {
	if _, there := w.waiting[u.member]; !there {
		w.order = append(w.order, u.member)
	}
	w.waiting[u.member] = u
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) take(member core.MemberID) {
	if _, there := w.waiting[member]; there {
		delete(w.waiting, member)
		w.order = slices.DeleteFunc(w.order, func(m core.MemberID) bool { return m == member })
	}
}

// first takes the oldest that waits.
func (w *watch) first() (update, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		return update{}, false
	}
	u := w.waiting[w.order[0]]
	delete(w.waiting, u.member)
	w.order = w.order[1:]
	if u.gone {
		delete(w.told, u.member)
	} else {
		w.told[u.member] = struct{}{}
	}
	if len(w.order) > 0 { // another reader may have been woken for the same
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return u, true
}

func (w *watch) next(ctx context.Context) (update, error) {
	for {
		if u, ok := w.first(); ok {
			return u, nil
		}
		select {
		case <-w.wake:
			continue
		case <-w.over:
		case <-w.dead:
		case <-ctx.Done():
			return update{}, context.Cause(ctx)
		}
		if u, ok := w.first(); ok { // it came before the end
			return u, nil
		}
		return update{}, fmt.Errorf("the watch has ended: %w", core.ErrStopped)
	}
}

func (w *watch) stop() {
	w.s.mu.Lock()
	delete(w.s.watches, w)
	w.s.mu.Unlock()
	w.end()
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		close(w.over)
	}
}

// close ends all watches.
func (s *states) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for w := range s.watches {
		w.end()
	}
	s.watches = nil
}
