package remote

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/granary-go/granary/core"
)

// Types is the registry of the messages that may arrive and how they are decoded. It is explicit: a
// message that is merely linked into the program is not in it. It is safe for concurrent use; reading
// takes no lock.
type Types struct {
	err    error      // of NewTypes; told by New
	mu     sync.Mutex // writers
	byName atomic.Pointer[map[string]*messageType]
}

type messageType struct {
	name string
	typ  protoreflect.MessageType
}

// NewTypes is a registry with the types of ms. What Register would complain about is told by New.
func NewTypes(ms ...proto.Message) *Types {
	t := &Types{}
	t.byName.Store(&map[string]*messageType{})
	t.err = t.Register(ms...)
	return t
}

// Register adds the types of ms. A type may be added again. System messages of the runtime cannot be:
// they have a path of their own.
func (t *Types) Register(ms ...proto.Message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := maps.Clone(*t.byName.Load())
	var errs []error
	for _, m := range ms {
		if m == nil {
			errs = append(errs, fmt.Errorf("remote: register type: the message is nil: %w", core.ErrInvalid))
			continue
		}
		typ := m.ProtoReflect().Type()
		name := string(typ.Descriptor().FullName())
		switch before := next[name]; {
		case systemType(name) != notSystem:
			errs = append(errs, fmt.Errorf("remote: register type %s: it is a system message: %w", name, core.ErrInvalid))
		case before != nil && before.typ != typ:
			errs = append(errs, fmt.Errorf("remote: register type %s: another Go type has that name: %w", name, core.ErrConflict))
		default:
			next[name] = &messageType{name, typ}
		}
	}
	t.byName.Store(&next)
	return errors.Join(errs...)
}

// Names lists the registered types, sorted.
func (t *Types) Names() []string { return slices.Sorted(maps.Keys(*t.byName.Load())) }

func (t *Types) find(name []byte) *messageType { return (*t.byName.Load())[string(name)] }

// decode makes the message that data holds.
func (m *messageType) decode(data []byte, recursion int) (proto.Message, error) {
	out := m.typ.New().Interface()
	// Merging into a new message is unmarshalling without the reset.
	if err := (proto.UnmarshalOptions{Merge: true, RecursionLimit: recursion}).Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("remote: decode %s: %w: %w", m.name, err, core.ErrInvalid)
	}
	return out, nil
}

// unmarshal decodes a message of remoting's own.
func unmarshal(data []byte, m proto.Message) error {
	return proto.UnmarshalOptions{RecursionLimit: ownRecursion}.Unmarshal(data, m)
}

// ownRecursion is deeper than any message of remoting's own.
const ownRecursion = 16

// rawTargets are the processes that take messages as bytes. Immutable once shared.
type rawTargets struct {
	exact    map[string]map[string]bool // target, type
	prefixes []rawPrefix                // longest first
}

type rawPrefix struct {
	prefix string
	types  map[string]bool
}

// with is r and these types of target.
func (r *rawTargets) with(target string, types []string) *rawTargets {
	next := &rawTargets{exact: map[string]map[string]bool{}}
	if r != nil {
		maps.Copy(next.exact, r.exact)
		next.prefixes = slices.Clone(r.prefixes)
	}
	set := map[string]bool{}
	for _, name := range types {
		set[name] = true
	}
	if !strings.HasSuffix(target, "/") {
		maps.Copy(set, next.exact[target])
		next.exact[target] = set
		return next
	}
	for i, p := range next.prefixes {
		if p.prefix == target {
			maps.Copy(set, p.types)
			next.prefixes[i].types = set
			return next
		}
	}
	next.prefixes = append(next.prefixes, rawPrefix{target, set})
	slices.SortFunc(next.prefixes, func(a, b rawPrefix) int { return len(b.prefix) - len(a.prefix) })
	return next
}

// of lists the types that target takes as bytes; nil: none.
func (r *rawTargets) of(target string) map[string]bool {
	if r == nil {
		return nil
	}
	if set := r.exact[target]; set != nil {
		return set
	}
	for _, p := range r.prefixes {
		if strings.HasPrefix(target, p.prefix) {
			return p.types
		}
	}
	return nil
}

// system tells the runtime's own messages from those of users.
type system uint8

const (
	notSystem system = iota
	systemWatch
	systemUnwatch
	systemTerminated
	systemStop
	systemPoison
	systemReceipt // of the link itself
)

const (
	typeWatch      = "actor.Watch"
	typeUnwatch    = "actor.Unwatch"
	typeTerminated = "actor.Terminated"
	typeStop       = "actor.Stop"
	typePoison     = "actor.PoisonPill"
)

func systemType(name string) system {
	switch name {
	case typeWatch:
		return systemWatch
	case typeUnwatch:
		return systemUnwatch
	case typeTerminated:
		return systemTerminated
	case typeStop:
		return systemStop
	case typePoison:
		return systemPoison
	case typeReceipt:
		return systemReceipt
	}
	return notSystem
}
