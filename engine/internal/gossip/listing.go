package gossip

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/granary-go/granary/core"
)

// TypeKeys is the type of the value of KeyKeys.
const TypeKeys = "granary.StateKeys"

// listing is what a member said when it last removed a key: which keys it had then, each with the version of
// its value. Whatever it wrote before and did not list is gone, wherever and in whatever order it arrives. A
// listing takes the place of all before it, so that nothing has to be remembered of single removals.
type listing struct {
	at   uint64 // its version; 0: nothing was ever removed
	keys map[string]uint64
}

// ended reports whether a write of a key that is not held is one that the member has removed or replaced.
func (l *listing) ended(key string, version uint64) bool {
	if version >= l.at {
		return false
	}
	since, listed := l.keys[key]
	return !listed || version < since
}

// unset removes an own key.
func (m *Machine) unset(key string) {
	err := m.refuseUnset(key)
	if err != nil {
		m.refuse(offence{from: m.cfg.Self, owner: m.cfg.Self, key: key, err: err, count: 1})
		return
	}
	if _, found := m.own.find(key); !found {
		return
	}
	m.version++
	m.removed[key] = m.version
	m.write(m.own, Value{Key: KeyKeys, Version: m.version, Message: listingOf(m.own.values, key)})
	m.advance(m.own, m.version)
}

func (m *Machine) refuseUnset(key string) error {
	switch {
	case m.own == nil:
		return errClient
	case key == KeyKeys:
		return setError(key, ErrInvalid)
	case m.version >= maxVersion:
		return setError(key, ErrVersion)
	}
	return nil
}

// crowded reports whether a new key would be one too many for some member of the view, which may not have
// heard yet of all that was removed.
func (m *Machine) crowded(key string) bool {
	if _, again := m.removed[key]; again {
		return false
	}
	for k, v := range m.removed {
		if m.heard(v) {
			delete(m.removed, k)
		}
	}
	_, found := m.own.find(key)
	return !found && m.own.count()+len(m.removed) >= MaxKeys
}

// heard reports whether all members of the view hold the own writes up to version.
func (m *Machine) heard(version uint64) bool {
	for _, id := range m.view {
		if p := m.peers[id]; p != nil && p.line(m.own) < version {
			return false
		}
	}
	return true
}

// relist takes a new listing, and everything out that has ended by it.
func (m *Machine) relist(e *entry, v Value) {
	keys, _ := parseListing(v.Message)
	e.listing = listing{v.Version, keys}
	kept := make([]Value, 0, len(e.values))
	for _, old := range e.values {
		if _, listed := keys[old.Key]; listed || old.Version >= v.Version {
			kept = append(kept, old)
			continue
		}
		for _, c := range m.checks {
			if c.key == old.Key {
				c.forget(e)
			}
		}
		m.emit(Withdrawn{Member: e.id, Key: old.Key, Version: v.Version})
	}
	e.values = kept
}

// listingOf lists values without those of one key and of the listing before.
func listingOf(values []Value, without string) core.Message {
	var b []byte
	for _, v := range values {
		if v.Key == without || v.Key == KeyKeys {
			continue
		}
		one := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), v.Key)
		one = protowire.AppendVarint(protowire.AppendTag(one, 2, protowire.VarintType), v.Version)
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), one)
	}
	return core.Message{Type: TypeKeys, Data: b}
}

// parseListing reads a granary.StateKeys. False: it is none, or not within the bounds.
func parseListing(m core.Message) (keys map[string]uint64, ok bool) {
	keys = map[string]uint64{}
	ok = m.Type == TypeKeys && eachField(m.Data, func(num protowire.Number, data []byte, _ uint64) bool {
		if num != 1 {
			return true
		}
		name, version, ok := parseListed(data)
		keys[name] = version
		return ok && len(keys) <= MaxKeys
	})
	return keys, ok
}

func parseListed(data []byte) (name string, version uint64, ok bool) {
	ok = eachField(data, func(num protowire.Number, data []byte, v uint64) bool {
		switch num {
		case 1:
			name = string(data[:min(len(data), MaxKey+1)])
		case 2:
			version = v
		}
		return len(name) <= MaxKey
	})
	return name, version, ok && name != "" && utf8.ValidString(name)
}

// eachField gives the fields of a message one by one; what is neither a number nor of bytes comes as nothing.
func eachField(b []byte, use func(num protowire.Number, data []byte, v uint64) bool) bool {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		var data []byte
		var v uint64
		switch typ {
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 || !use(num, data, v) {
			return false
		}
		b = b[n:]
	}
	return true
}
