package convert

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// The types of the values of the engine's keys.
const (
	typeTopology  = "cluster.ClusterTopology"
	typeHeartbeat = "cluster.MemberHeartbeat"
	typeLeft      = "google.protobuf.Empty"
	typeBlocked   = "granary.BlockedMembers"
)

// fieldsOf walks through the fields of m, which must have that type and the size of a gossip value.
func fieldsOf(m core.Message, name string, use func(field) error) error {
	var err error
	switch {
	case m.Type != name:
		err = fmt.Errorf("its type is %.80q: %w", m.Type, core.ErrInvalid)
	case len(m.Data) > gossip.MaxValue:
		err = fmt.Errorf("%d bytes, want at most %d: %w", len(m.Data), gossip.MaxValue, core.ErrInvalid)
	default:
		err = eachField(m.Data, use)
	}
	if err != nil {
		return fmt.Errorf("gossip value %s: %w", name, err)
	}
	return nil
}

// TopologyToMessage is t as value of gossip.KeyTopology. It lists no blocked members: Proto.Actor
// nodes would evict them for good.
func TopologyToMessage(t gossip.Topology) core.Message {
	b := appendNumber(nil, 1, t.WireHash)
	b = appendHead(b, 100, sizeText(1, t.Lineage)+sizeNumber(2, t.Epoch)+protowire.SizeTag(3)+8)
	b = appendText(b, 1, t.Lineage)
	b = appendNumber(b, 2, t.Epoch)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 3, protowire.Fixed64Type), t.Hash)
	return core.Message{Type: typeTopology, Data: b}
}

// TopologyFromMessage is the topology that a value of gossip.KeyTopology holds. One of a Proto.Actor
// node has a WireHash alone.
func TopologyFromMessage(m core.Message) (t gossip.Topology, err error) {
	err = fieldsOf(m, typeTopology, func(f field) (err error) {
		switch f.number {
		case 1:
			t.WireHash = f.value
		case 100:
			err = viewStamp(f.data, &t)
		}
		return err
	})
	if err != nil {
		return gossip.Topology{}, err
	}
	return t, nil
}

func viewStamp(data []byte, t *gossip.Topology) error {
	return eachField(data, func(f field) error {
		switch f.number {
		case 1:
			if len(f.data) > core.MaxKey {
				return fmt.Errorf("lineage of %d bytes, want at most %d: %w", len(f.data), core.MaxKey, core.ErrInvalid)
			}
			t.Lineage = string(f.data)
		case 2:
			t.Epoch = f.value
		case 3:
			t.Hash = f.value
		}
		return nil
	})
}

// HeartbeatToMessage is h as value of gossip.KeyHeartbeat. Of more than gossip.MaxKindCounts kinds
// the first are told.
func HeartbeatToMessage(h gossip.Heartbeat) core.Message {
	counts := h.Activations[:min(len(h.Activations), gossip.MaxKindCounts)]
	size := 0
	for _, c := range counts {
		size += sizeField(1, sizeCount(c))
	}
	b := appendHead(nil, 1, size)
	for _, c := range counts {
		b = appendHead(b, 1, sizeCount(c))
		b = appendText(b, 1, c.Kind)
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(c.Count))
	}
	return core.Message{Type: typeHeartbeat, Data: b}
}

func sizeCount(c gossip.KindCount) int {
	return sizeText(1, c.Kind) + protowire.SizeTag(2) + protowire.SizeVarint(uint64(c.Count))
}

// HeartbeatFromMessage is the heartbeat that a value of gossip.KeyHeartbeat holds, its kinds sorted.
func HeartbeatFromMessage(m core.Message) (h gossip.Heartbeat, err error) {
	err = fieldsOf(m, typeHeartbeat, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return eachField(f.data, func(f field) error {
			if f.number != 1 {
				return nil
			}
			return addCount(&h, f.data)
		})
	})
	if err != nil {
		return gossip.Heartbeat{}, err
	}
	slices.SortStableFunc(h.Activations, func(a, b gossip.KindCount) int { return cmp.Compare(a.Kind, b.Kind) })
	h.Activations = slices.CompactFunc(h.Activations, func(a, b gossip.KindCount) bool { return a.Kind == b.Kind })
	return h, nil
}

func addCount(h *gossip.Heartbeat, data []byte) error {
	var c gossip.KindCount
	var kind []byte
	err := eachField(data, func(f field) error {
		switch f.number {
		case 1:
			kind = f.data
		case 2:
			c.Count = int64(f.value)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(kind) == 0 || len(kind) > core.MaxKind:
		return fmt.Errorf("kind of %d bytes, want 1 to %d: %w", len(kind), core.MaxKind, core.ErrInvalid)
	case c.Count < 0:
		return fmt.Errorf("%d activations of kind %q: %w", c.Count, kind, core.ErrInvalid)
	case len(h.Activations) == gossip.MaxKindCounts:
		return fmt.Errorf("more than %d kinds: %w", gossip.MaxKindCounts, core.ErrInvalid)
	}
	c.Kind = string(kind)
	h.Activations = append(h.Activations, c)
	return nil
}

// LeftToMessage is the value of gossip.KeyLeft.
func LeftToMessage() core.Message { return core.Message{Type: typeLeft} }

// BlockedToMessage is bans as value of gossip.KeyBlocked. Of more than gossip.MaxBlocked the first are
// told; the time that is left counts in whole milliseconds, rounded up.
func BlockedToMessage(bans []gossip.Blocked) core.Message {
	var b []byte
	for _, ban := range bans[:min(len(bans), gossip.MaxBlocked)] {
		millis := uint64(max(1, (ban.Remaining+time.Millisecond-1)/time.Millisecond))
		b = appendHead(b, 1, sizeText(1, string(ban.ID))+sizeNumber(2, millis))
		b = appendText(b, 1, string(ban.ID))
		b = appendNumber(b, 2, millis)
	}
	return core.Message{Type: typeBlocked, Data: b}
}

// MaxBan is the longest time that a ban which others tell of may still last; a longer one counts as
// this long.
const MaxBan = 24 * time.Hour

// BlockedFromMessage lists the bans that a value of gossip.KeyBlocked holds.
func BlockedFromMessage(m core.Message) (bans []gossip.Blocked, err error) {
	err = fieldsOf(m, typeBlocked, func(f field) error {
		if f.number != 1 {
			return nil
		}
		ban, err := blocked(f.data)
		if err == nil && len(bans) == gossip.MaxBlocked {
			err = fmt.Errorf("more than %d bans: %w", gossip.MaxBlocked, core.ErrInvalid)
		}
		bans = append(bans, ban)
		return err
	})
	if err != nil {
		return nil, err
	}
	return bans, nil
}

func blocked(data []byte) (ban gossip.Blocked, err error) {
	var id []byte
	var millis uint64
	err = eachField(data, func(f field) error {
		switch f.number {
		case 1:
			id = f.data
		case 2:
			millis = f.value
		}
		return nil
	})
	if err != nil {
		return ban, err
	}
	ban = gossip.Blocked{ID: core.MemberID(id), Remaining: MaxBan}
	if millis < uint64(MaxBan/time.Millisecond) {
		ban.Remaining = time.Duration(millis) * time.Millisecond
	}
	if err := checkMemberID(string(ban.ID)); err != nil {
		return ban, err
	}
	if millis == 0 {
		return ban, fmt.Errorf("ban of %q without a time: %w", ban.ID, core.ErrInvalid)
	}
	return ban, nil
}
