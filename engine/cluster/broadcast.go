package cluster

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/wireform"
)

// processBroadcast takes messages for the event stream of its member.
const processBroadcast = "$broadcast"

// MaxBroadcast bounds the encoded size of a message that is broadcast, in bytes.
const MaxBroadcast = 256 << 10

// maxBroadcastDepth bounds the nesting of one that came from another member.
const maxBroadcastDepth = 100

// Outcome is what became of a broadcast at one member.
type Outcome struct {
	Member core.MemberID
	// Err is nil once the message is on the member's event stream. Else core.DeliveryOf tells whether it
	// may be: core.Undelivered means that it is not, and will not be.
	Err error
}

// Broadcast puts a copy of m on the event stream of every member of the installed view, this one included
// (Events; actor.SubscribeOf[*T]), and returns what became of it at each, in ascending order of ID. It is
// sent once to each, and waited for until ctx ends, or for 5 s if it has no deadline. Whether anybody has
// subscribed there is not told.
//
// The type of m has to be in Config.Broadcasts, here and there; a member that does not know it refuses.
// MaxBroadcast bounds its size. Clients may neither send nor get broadcasts. The error is about the whole,
// and then nothing was sent: core.ErrInvalid (nil, too large), core.ErrUnsupported (the type, a client),
// core.ErrStopped (before Start or after Stop).
func (n *Node) Broadcast(ctx context.Context, m proto.Message) ([]Outcome, error) {
	message, err := n.broadcastable(ctx, m)
	if err != nil {
		return nil, core.WithDelivery(fmt.Errorf("cluster: broadcast: %w", err), core.Undelivered)
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	var out []Outcome
	waiting := map[int]pending{}
	for to := range n.View().All() {
		o := Outcome{Member: to.ID}
		if to.ID == n.id {
			o.Err = n.publishMessage(message)
		} else {
			var p pending
			w := &wireform.Envelope{Type: wireform.TypeProcess, Message: message}
			if p, o.Err = n.begin(ctx, to, processBroadcast, w); o.Err == nil {
				waiting[len(out)] = p
			}
		}
		out = append(out, o)
	}
	for i := range out {
		if p, sent := waiting[i]; sent {
			_, out[i].Err = p.wait(ctx)
		}
	}
	return out, nil
}

// broadcastable is m as it is sent, or why it cannot be.
func (n *Node) broadcastable(ctx context.Context, m proto.Message) (core.Message, error) {
	switch {
	case n.cfg.Client:
		return core.Message{}, fmt.Errorf("a client is no member, and members take broadcasts of members only: %w", core.ErrUnsupported)
	case m == nil || !m.ProtoReflect().IsValid():
		return core.Message{}, fmt.Errorf("the message is nil: %w", core.ErrInvalid)
	case !n.open.Load() || n.View() == nil:
		return core.Message{}, fmt.Errorf("the node is not running: %w", core.ErrStopped)
	}
	name := string(m.ProtoReflect().Descriptor().FullName())
	if n.broadcasts[name] == nil {
		return core.Message{}, fmt.Errorf("the type %s is not in Config.Broadcasts: %w", name, core.ErrUnsupported)
	}
	data, err := proto.Marshal(m)
	switch {
	case err != nil:
		return core.Message{}, fmt.Errorf("encode %s: %w: %w", name, err, core.ErrInvalid)
	case len(data) > MaxBroadcast:
		return core.Message{}, fmt.Errorf("a %s of %d bytes, the limit is %d: %w", name, len(data), MaxBroadcast, core.ErrInvalid)
	}
	return core.Message{Type: name, Data: data}, ctx.Err()
}

// publishMessage puts a message on the own event stream. Each member gets a copy of its own, the sender
// too, so that none can change what others see.
func (n *Node) publishMessage(m core.Message) error {
	typ := n.broadcasts[m.Type]
	switch {
	case typ == nil:
		return core.WithDelivery(fmt.Errorf("cluster: broadcast: member %s does not take the type %.80q; it is not in its Config.Broadcasts: %w", n.id, m.Type, core.ErrUnsupported), core.Undelivered)
	case len(m.Data) > MaxBroadcast:
		return core.WithDelivery(fmt.Errorf("cluster: broadcast: %d bytes, the limit is %d: %w", len(m.Data), MaxBroadcast, core.ErrInvalid), core.Undelivered)
	}
	out := typ.New().Interface()
	if err := (proto.UnmarshalOptions{RecursionLimit: maxBroadcastDepth}).Unmarshal(m.Data, out); err != nil {
		return core.WithDelivery(fmt.Errorf("cluster: broadcast: decode %s: %w: %w", m.Type, err, core.ErrInvalid), core.Undelivered)
	}
	n.Events().Publish(out)
	return nil
}

// handleBroadcast takes the broadcast of another member.
func (n *Node) handleBroadcast(_ context.Context, _ core.Member, _ *wireform.Stamp, m core.Message) (core.Message, error) {
	return core.Message{Type: messageTaken}, n.publishMessage(m)
}

// messageTaken is the answer to a broadcast.
const messageTaken = "granary.Taken"

// broadcastTypes are those of Config.Broadcasts by their names.
func (c Config) broadcastTypes() (map[string]protoreflect.MessageType, error) {
	types := map[string]protoreflect.MessageType{}
	for i, m := range c.Broadcasts {
		if m == nil {
			return nil, fmt.Errorf("cluster: Broadcasts: message %d is nil: %w", i, core.ErrInvalid)
		}
		typ := m.ProtoReflect().Type()
		name := string(typ.Descriptor().FullName())
		if before := types[name]; before != nil && before != typ {
			return nil, fmt.Errorf("cluster: Broadcasts: two Go types are named %s: %w", name, core.ErrInvalid)
		}
		types[name] = typ
	}
	return types, nil
}
