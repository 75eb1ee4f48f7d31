package convert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// The messages of gossip, by full name. They are written and read by hand, straight into and out of
// bytes: every member sends several in each interval, and maps of generated messages would cost more
// than what they hold. Tests hold the code to the generated one.
const (
	TypeGossipRequest  = "cluster.GossipRequest"
	TypeGossipResponse = "cluster.GossipResponse"
	TypeStateQuery     = "granary.StateQuery" // of clients, answered by a GossipResponse
)

// Bounds of one message of gossip; what Granary sends keeps far below.
const (
	maxGossipOwners   = 1_024
	maxGossipLines    = 1_024
	maxGossipVersions = 8_192
	minGossipValue    = 10 // bytes of the shortest value that anybody accepts
)

// anyPrefix stands before the name of a type in an Any.
const anyPrefix = "type.googleapis.com/"

// AppendGossipRequest appends the wire form of r, which goes to the member to, to b. It names the
// receiver where Proto.Actor nodes name it, not the sender.
func AppendGossipRequest(b []byte, to core.MemberID, r *gossip.Request) []byte {
	b = appendGossipState(b, r.Entries)
	b = appendText(b, 2, string(to))
	b = appendNumber(b, 100, r.Exchange)
	b = appendGossipLines(b, r.Lines)
	b = appendNumber(b, 102, r.Answered)
	b = appendNumber(b, 103, r.Known)
	b = appendFixed(b, 104, r.View)
	return appendNumbers(b, 105, r.Versions)
}

// AppendStateQuery appends r as a client sends it to b: without what only members may say.
func AppendStateQuery(b []byte, r *gossip.Request) []byte {
	b = appendNumber(b, 100, r.Exchange)
	b = appendGossipLines(b, r.Lines)
	b = appendNumber(b, 102, r.Answered)
	b = appendFixed(b, 104, r.View)
	return appendNumbers(b, 105, r.Versions)
}

// AppendGossipResponse appends the wire form of r to b.
func AppendGossipResponse(b []byte, r *gossip.Response) []byte {
	b = appendGossipState(b, r.Entries)
	b = appendNumber(b, 100, r.Exchange)
	b = appendGossipLines(b, r.Lines)
	return appendFixed(b, 104, r.View)
}

// appendGossipState appends field 1. It is there even when empty: without it a Proto.Actor node fails.
func appendGossipState(b []byte, entries []gossip.Entry) []byte {
	size := 0
	for i := range entries {
		size += sizeField(1, sizePair(string(entries[i].Owner), sizeEntry(&entries[i])))
	}
	b = appendHead(b, 1, size)
	for i := range entries {
		e := &entries[i]
		b = appendPair(b, string(e.Owner), sizeEntry(e))
		for j := range e.Values {
			b = appendGossipValue(b, &e.Values[j])
		}
		b = appendNumber(b, 100, e.Base)
		b = appendFlag(b, 101, e.Relayed)
	}
	return b
}

func sizeEntry(e *gossip.Entry) int {
	size := sizeNumber(100, e.Base)
	if e.Relayed {
		size += protowire.SizeTag(101) + 1
	}
	for i := range e.Values {
		v := &e.Values[i]
		size += sizeField(1, sizePair(v.Key, sizeValue(v)))
	}
	return size
}

func appendGossipValue(b []byte, v *gossip.Value) []byte {
	b = appendPair(b, v.Key, sizeValue(v))
	b = appendNumber(b, 2, v.Version)
	b = appendHead(b, 4, sizeAny(v.Message))
	b = appendHead(b, 1, len(anyPrefix)+len(v.Message.Type))
	b = append(append(b, anyPrefix...), v.Message.Type...)
	if len(v.Message.Data) > 0 {
		b = append(appendHead(b, 2, len(v.Message.Data)), v.Message.Data...)
	}
	return b
}

func sizeValue(v *gossip.Value) int {
	return sizeNumber(2, v.Version) + sizeField(4, sizeAny(v.Message))
}

func sizeAny(m core.Message) int {
	size := sizeField(1, len(anyPrefix)+len(m.Type))
	if len(m.Data) > 0 {
		size += sizeField(2, len(m.Data))
	}
	return size
}

func appendGossipLines(b []byte, lines []gossip.Line) []byte {
	for _, l := range lines {
		b = appendHead(b, 101, sizeText(1, string(l.Owner))+sizeNumber(2, l.Version))
		b = appendText(b, 1, string(l.Owner))
		b = appendNumber(b, 2, l.Version)
	}
	return b
}

// GossipRequestFromWire is the request that data holds. A state that is absent counts as empty. Values
// are checked by who merges them; here only what would make the message expensive is refused.
func GossipRequestFromWire(data []byte) (*gossip.Request, error) {
	r := &gossip.Request{}
	err := eachField(data, func(f field) (err error) {
		switch f.number {
		case 1:
			r.Entries, err = gossipState(f.data)
		case 100:
			r.Exchange = f.value
		case 101:
			r.Lines, err = gossipLine(r.Lines, f.data)
		case 102:
			r.Answered = f.value
		case 103:
			r.Known = f.value
		case 104:
			r.View = f.value
		case 105:
			r.Versions, err = numbers(r.Versions, f, maxGossipVersions)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("gossip request: %w", err)
	}
	return r, nil
}

// StateQueryFromWire is the query of a client that data holds. One that brings state, or says what it was told
// of the receiver, is refused: only members may.
func StateQueryFromWire(data []byte) (*gossip.Request, error) {
	err := eachField(data, func(f field) error {
		if f.number == 1 || f.number == 2 || f.number == 103 {
			return fmt.Errorf("field %d is for members: %w", f.number, core.ErrInvalid)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("state query: %w", err)
	}
	return GossipRequestFromWire(data)
}

// GossipResponseFromWire is the response that data holds; without any field it is the empty one of
// Proto.Actor nodes.
func GossipResponseFromWire(data []byte) (*gossip.Response, error) {
	r := &gossip.Response{}
	err := eachField(data, func(f field) (err error) {
		switch f.number {
		case 1:
			r.Entries, err = gossipState(f.data)
		case 100:
			r.Exchange = f.value
		case 101:
			r.Lines, err = gossipLine(r.Lines, f.data)
		case 104:
			r.View = f.value
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("gossip response: %w", err)
	}
	return r, nil
}

func gossipState(data []byte) ([]gossip.Entry, error) {
	n, err := countFields(data, 1, 1)
	if err != nil || n == 0 {
		return nil, err
	}
	if n > maxGossipOwners {
		return nil, fmt.Errorf("%d members, want at most %d: %w", n, maxGossipOwners, core.ErrInvalid)
	}
	entries := make([]gossip.Entry, 0, n)
	err = eachField(data, func(f field) error {
		if f.number != 1 {
			return nil
		}
		e, err := gossipEntry(f.data)
		entries = append(entries, e)
		return err
	})
	return entries, err
}

func gossipEntry(data []byte) (e gossip.Entry, err error) {
	owner, state, err := pair(data)
	if err != nil {
		return e, err
	}
	n, err := countFields(state, 1, minGossipValue)
	if err != nil {
		return e, fmt.Errorf("member %.80q: %w", owner, err)
	}
	e = gossip.Entry{Owner: core.MemberID(owner), Values: make([]gossip.Value, 0, n)}
	err = eachField(state, func(f field) (err error) {
		switch f.number {
		case 1:
			var v gossip.Value
			v, err = gossipValue(f.data)
			e.Values = append(e.Values, v)
		case 100:
			e.Base = f.value
		case 101:
			e.Relayed = f.value != 0
		}
		return err
	})
	if err != nil {
		return e, fmt.Errorf("member %.80q: %w", owner, err)
	}
	slices.SortFunc(e.Values, func(a, b gossip.Value) int { return cmp.Compare(a.Version, b.Version) })
	return e, nil
}

func gossipValue(data []byte) (v gossip.Value, err error) {
	key, value, err := pair(data)
	if err != nil {
		return v, err
	}
	v.Key = gossipName(key)
	err = eachField(value, func(f field) (err error) {
		switch f.number {
		case 2:
			v.Version = f.value
		case 4:
			v.Message, err = anyMessage(f.data)
		}
		return err
	})
	return v, err
}

// gossipName is b as a string; of those that come all the time, none is made.
func gossipName(b []byte) string {
	switch string(b) {
	case gossip.KeyHeartbeat:
		return gossip.KeyHeartbeat
	case gossip.KeyTopology:
		return gossip.KeyTopology
	case typeHeartbeat:
		return typeHeartbeat
	case typeTopology:
		return typeTopology
	}
	return string(b)
}

// anyMessage is the message that an Any holds. What stands before the last slash of its type says
// where to look it up, which nobody does.
func anyMessage(data []byte) (m core.Message, err error) {
	err = eachField(data, func(f field) error {
		switch f.number {
		case 1:
			name := f.data
			if len(name) > len(anyPrefix) && string(name[:len(anyPrefix)]) == anyPrefix {
				name = name[len(anyPrefix):]
			}
			m.Type = gossipName(name)
		case 2:
			m.Data = append([]byte(nil), f.data...)
		}
		return nil
	})
	if i := strings.LastIndexByte(m.Type, '/'); i >= 0 {
		m.Type = m.Type[i+1:]
	}
	return m, err
}

func gossipLine(lines []gossip.Line, data []byte) ([]gossip.Line, error) {
	if len(lines) == maxGossipLines {
		return nil, fmt.Errorf("more than %d lines: %w", maxGossipLines, core.ErrInvalid)
	}
	var l gossip.Line
	err := eachField(data, func(f field) error {
		switch f.number {
		case 1:
			l.Owner = core.MemberID(f.data)
		case 2:
			l.Version = f.value
		}
		return nil
	})
	return append(lines, l), err
}
