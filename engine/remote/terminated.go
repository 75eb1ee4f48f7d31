package remote

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/actorpb"
)

// watches remembers who watches whom over the network, so that a link that ends loses none: watches
// are told again over the next link, and the departure of a member ends them all. Safe for concurrent
// use.
type watches struct {
	mu  sync.Mutex
	out map[core.MemberID]map[watchKey]core.PID // of local actors; the value is the PID watched
	in  map[core.MemberID]map[watchKey]struct{} // of local actors, by processes of the member
}

// watchKey is a local process and one of the other member.
type watchKey struct{ local, there string }

func compareKeys(a, b watchKey) int {
	return cmp.Or(cmp.Compare(a.local, b.local), cmp.Compare(a.there, b.there))
}

func newWatches() *watches {
	return &watches{out: map[core.MemberID]map[watchKey]core.PID{}, in: map[core.MemberID]map[watchKey]struct{}{}}
}

func (w *watches) addOut(member core.MemberID, k watchKey, who core.PID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out[member] == nil {
		w.out[member] = map[watchKey]core.PID{}
	}
	w.out[member][k] = who
}

// takeOut ends a watch of a local actor; false: there is none.
func (w *watches) takeOut(member core.MemberID, k watchKey) (core.PID, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	who, ok := w.out[member][k]
	delete(w.out[member], k)
	if len(w.out[member]) == 0 {
		delete(w.out, member)
	}
	return who, ok
}

// addIn is false if the member holds limit watches already.
func (w *watches) addIn(member core.MemberID, k watchKey, limit int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	set := w.in[member]
	if _, known := set[k]; !known && len(set) >= limit {
		return false
	}
	if set == nil {
		set = map[watchKey]struct{}{}
		w.in[member] = set
	}
	set[k] = struct{}{}
	return true
}

// removeIn is false if there was no such watch.
func (w *watches) removeIn(member core.MemberID, k watchKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.in[member][k]
	delete(w.in[member], k)
	if len(w.in[member]) == 0 {
		delete(w.in, member)
	}
	return ok
}

// outward lists the watches of local actors on the member, sorted.
func (w *watches) outward(member core.MemberID) []watchKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Keys(w.out[member]), compareKeys)
}

// forget ends all watches with the member and lists them, sorted.
func (w *watches) forget(member core.MemberID) (out map[watchKey]core.PID, in []watchKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, in = w.out[member], slices.SortedFunc(maps.Keys(w.in[member]), compareKeys)
	delete(w.out, member)
	delete(w.in, member)
	return out, in
}

// rewatch tells the watches on a member again: the link that they went over may have lost them, or
// the link that their end came by. A watch that stands is not harmed by a second one.
func (r *Remote) rewatch(ep *endpoint) {
	for _, k := range r.watches.outward(ep.member.ID) {
		watcher := core.PID{Address: r.address, ID: k.local, Member: r.cfg.Member}
		if err := ep.sendWatch(k.there, watcher, false); err != nil {
			return // the next link tells them
		}
	}
}

// unreachable tells local watchers that the member is gone, and local actors that its watchers are.
func (r *Remote) unreachable(member core.MemberID, address string) {
	out, in := r.watches.forget(member)
	for _, k := range slices.SortedFunc(maps.Keys(out), compareKeys) {
		r.tellLocal(k.local, &actor.Terminated{Who: out[k], Why: actor.TerminatedUnreachable})
	}
	for _, k := range in {
		watcher := r.sys.Ref(core.PID{Address: address, ID: k.there, Member: member})
		r.tellLocal(k.local, &actor.Unwatch{Watcher: watcher})
	}
}

// tellLocal hands a system message to a local actor, which may have ended by now.
func (r *Remote) tellLocal(id string, m actor.SystemMessage) {
	_ = r.sys.DeliverSystem(core.PID{Address: r.address, ID: id, Member: r.cfg.Member}, m)
}

// SendSystem sends a message of the runtime to a process of the member. A watch is remembered and
// told again after each new link, until it is taken back or answered. Members only: of a client every
// system message is refused.
func (ep *endpoint) SendSystem(target core.PID, m actor.SystemMessage) error {
	if ep.r.cfg.Client {
		return undelivered(fmt.Errorf("remote: send %T to %s: a client may not: %w", m, target, ErrDenied))
	}
	switch m := m.(type) {
	case *actor.Watch:
		if err := ep.gone(); err != nil {
			if next := ep.successor(); next != nil {
				return next.SendSystem(target, m)
			}
			return err
		}
		pid := m.Watcher.PID()
		k := watchKey{pid.ID, target.ID}
		ep.r.watches.addOut(ep.member.ID, k, target)
		if err := ep.gone(); err != nil { // meanwhile; whoever takes the watch tells its end
			if _, mine := ep.r.watches.takeOut(ep.member.ID, k); mine {
				return err
			}
			return nil
		}
		if err := ep.sendWatch(target.ID, pid, false); errors.Is(err, core.ErrInvalid) {
			ep.r.watches.takeOut(ep.member.ID, k)
			return err
		} // else the next link tells it
		return nil
	case *actor.Unwatch:
		pid := m.Watcher.PID()
		if _, ok := ep.r.watches.takeOut(ep.member.ID, watchKey{pid.ID, target.ID}); !ok {
			return nil
		}
		return ep.sendWatch(target.ID, pid, true)
	case *actor.Terminated:
		ep.r.watches.removeIn(ep.member.ID, watchKey{m.Who.ID, target.ID})
		return ep.post(&outgoing{target: target.ID, msg: &actorpb.Terminated{
			Who: convert.PIDToProto(m.Who), Why: reasonToProto(m.Why),
		}})
	case *actor.Stop:
		return ep.post(&outgoing{target: target.ID, msg: &actorpb.Stop{}})
	case *actor.Poison:
		return ep.post(&outgoing{target: target.ID, msg: &actorpb.PoisonPill{}})
	}
	return undelivered(fmt.Errorf("remote: send to %s: system message %T: %w", target, m, core.ErrUnsupported))
}

func (ep *endpoint) sendWatch(there string, watcher core.PID, un bool) error {
	w := convert.PIDToProto(watcher)
	if un {
		return ep.post(&outgoing{target: there, msg: &actorpb.Unwatch{Watcher: w}})
	}
	return ep.post(&outgoing{target: there, msg: &actorpb.Watch{Watcher: w}})
}

// reasonUnwatchable is an own number of an enum that is inherited and so cannot have a name for it. A
// Proto.Actor node reads it as any other number.
const reasonUnwatchable actorpb.TerminatedReason = 100

func reasonToProto(why actor.TerminatedReason) actorpb.TerminatedReason {
	switch why {
	case actor.TerminatedUnreachable:
		return actorpb.TerminatedReason_AddressTerminated
	case actor.TerminatedNotFound:
		return actorpb.TerminatedReason_NotFound
	case actor.TerminatedUnwatchable:
		return reasonUnwatchable
	}
	return actorpb.TerminatedReason_Stopped
}

func reasonFromProto(why actorpb.TerminatedReason) actor.TerminatedReason {
	switch why {
	case actorpb.TerminatedReason_AddressTerminated:
		return actor.TerminatedUnreachable
	case actorpb.TerminatedReason_NotFound:
		return actor.TerminatedNotFound
	case reasonUnwatchable:
		return actor.TerminatedUnwatchable
	}
	return actor.TerminatedStopped
}

// deliverSystem hands a message of the runtime to its target. Only members send them.
func (c *conn) deliverSystem(target core.PID, t *inType, data []byte) error {
	if c.peer.Client {
		return fmt.Errorf("a client may not send %s: %w", t.name, ErrDenied)
	}
	switch t.system {
	case systemWatch, systemUnwatch:
		watcher, _, err := c.parseSystem(t.name, data)
		if err != nil {
			return err
		}
		return c.watched(target, watcher, t.system == systemWatch)
	case systemTerminated:
		return c.terminated(target, t.name, data)
	case systemPoison:
		return c.r.sys.DeliverSystem(target, &actor.Poison{})
	}
	return c.r.sys.DeliverSystem(target, &actor.Stop{})
}

// parseSystem reads a Watch, an Unwatch or a Terminated: the process of the peer that it names.
func (c *conn) parseSystem(name string, data []byte) (core.PID, actor.TerminatedReason, error) {
	var m interface {
		proto.Message
		GetWatcher() *actorpb.PID
	} = &actorpb.Watch{}
	switch name {
	case typeUnwatch:
		m = &actorpb.Unwatch{}
	case typeTerminated:
		var m actorpb.Terminated
		if err := unmarshal(data, &m); err != nil {
			return core.PID{}, 0, errSystem(name)
		}
		pid, err := c.ofPeer(m.GetWho(), name)
		return pid, reasonFromProto(m.GetWhy()), err
	}
	if err := unmarshal(data, m); err != nil {
		return core.PID{}, 0, errSystem(name)
	}
	pid, err := c.ofPeer(m.GetWatcher(), name)
	return pid, 0, err
}

func errSystem(name string) error {
	return fmt.Errorf("%s is not well formed: %w", name, core.ErrInvalid)
}

func (c *conn) watched(target, watcher core.PID, begin bool) error {
	k := watchKey{target.ID, watcher.ID}
	ref := c.r.sys.Ref(watcher)
	if !begin {
		if c.r.watches.removeIn(c.peer.Member.ID, k) {
			return c.r.sys.DeliverSystem(target, &actor.Unwatch{Watcher: ref})
		}
		return nil
	}
	if !c.r.watches.addIn(c.peer.Member.ID, k, c.r.limits.Watches) {
		_ = ref.SendSystem(&actor.Terminated{Who: target, Why: actor.TerminatedUnwatchable}) // the next link tells the watch again
		return fmt.Errorf("member %q watches %d processes here, which is the limit: %w", c.peer.Member.ID, c.r.limits.Watches, core.ErrOverloaded)
	}
	return c.r.sys.DeliverSystem(target, &actor.Watch{Watcher: ref})
}

// terminated passes on the end of a process that is being watched; all others are made up.
func (c *conn) terminated(target core.PID, name string, data []byte) error {
	who, why, err := c.parseSystem(name, data)
	if err != nil {
		return err
	}
	watched, ok := c.r.watches.takeOut(c.peer.Member.ID, watchKey{target.ID, who.ID})
	if !ok {
		c.r.count("remote.terminated.unwatched")
		return nil
	}
	return c.r.sys.DeliverSystem(target, &actor.Terminated{Who: watched, Why: why})
}

// ofPeer reads a PID of the message that must be a process of the peer.
func (c *conn) ofPeer(p *actorpb.PID, name string) (core.PID, error) {
	pid, err := convert.PIDFromProto(p, func(string) core.MemberID { return c.peer.Member.ID })
	if err != nil {
		return core.PID{}, fmt.Errorf("%s: %w", name, err)
	}
	if pid.Member != c.peer.Member.ID || pid.Address != c.peer.Member.Address {
		return core.PID{}, fmt.Errorf("%s names a process of %q on a connection of %q: %w", name, pid.Member, c.peer.Member.ID, ErrDenied)
	}
	return pid, nil
}
