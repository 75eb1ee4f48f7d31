package grain

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
)

// Level is what a kind demands of the promise that one identity runs once. cluster.New refuses a
// kind whose level the parts of the node do not back.
type Level uint8

// The levels.
const (
	Level0 Level = iota // one activation a converged view; two may overlap while views differ
	Level1              // one among the members in the view
	Level2              // as Level1, and a member cut off fences itself
	Level3              // no stale activation changes stored state
)

// Kind is one sort of grain. Generated code and KindOf make it; the fields are the application's, set
// before the kind is given to a node and not modified afterwards.
//
// Strategy decides wherever the first call comes from: members that do not have the kind, and clients, ask one
// that has it where an identity lives. Members that host one kind with different strategies each place by
// their own.
type Kind struct {
	Name           string
	Strategy       core.Strategy // nil: rendezvous
	Level          Level         // refused by cluster.New when the parts do not back it
	Idle           time.Duration // until passivation; 0: 10 min; negative: never
	Mailbox        int           // messages; 0: 4,096
	MaxActivations int           // on one member; 0: 1,000,000
	MaxNewRate     int           // new activations a second that one peer may cause; 0: 100,000
	impl           *kindImpl
}

// Kinds are the kinds of a node, as one type for wire.
type Kinds []Kind

// kindImpl is what generated code and KindOf fill in.
type kindImpl struct {
	factory func(Self) (any, error) // nil: the application gave none
	methods []MethodSpec
	byName  map[string]int
}

// NewKind makes a kind of its factory and methods, the index of each being its position. Generated
// code and KindOf call it. What is wrong with the parts, Check tells.
func NewKind[G any](name string, factory func(Self) (G, error), methods []MethodSpec) Kind {
	impl := &kindImpl{methods: methods, byName: make(map[string]int, len(methods))}
	if factory != nil {
		impl.factory = func(self Self) (any, error) { return factory(self) }
	}
	for i := range methods {
		if _, taken := impl.byName[methods[i].Name]; !taken {
			impl.byName[methods[i].Name] = i
		}
	}
	return Kind{Name: name, impl: impl}
}

// maxMethodName is the longest name of a method, in bytes.
const maxMethodName = 128

func notPrinted(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// Check tells everything that is wrong with k; nil if nothing is. The errors wrap core.ErrInvalid.
func (k *Kind) Check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("kind %q: %w: "+format, append([]any{k.Name, core.ErrInvalid}, args...)...))
	}
	if err := core.CheckKind(k.Name); err != nil {
		errs = append(errs, err)
	}
	if k.Level > Level3 {
		wrong("level %d; the levels are 0 to 3", k.Level)
	}
	if k.Mailbox < 0 || k.MaxActivations < 0 || k.MaxNewRate < 0 {
		wrong("a negative limit: mailbox %d, activations %d, new ones a second %d", k.Mailbox, k.MaxActivations, k.MaxNewRate)
	}
	if k.impl == nil {
		wrong("made without KindOf or generated code")
		return errors.Join(errs...)
	}
	if k.impl.factory == nil {
		wrong("the factory is nil")
	}
	for i := range k.impl.methods {
		switch m := &k.impl.methods[i]; {
		case m.Name == "":
			wrong("method %d has no name", i)
		case len(m.Name) > maxMethodName || strings.ContainsFunc(m.Name, notPrinted):
			wrong("method %d is named %.80q, want up to %d bytes that can be printed", i, m.Name, maxMethodName)
		case k.impl.byName[m.Name] != i:
			wrong("two methods named %q", m.Name)
		case m.Index != i:
			wrong("method %q has index %d at position %d", m.Name, m.Index, i)
		case m.Invoke == nil || m.DecodeArg == nil || m.EncodeReply == nil:
			wrong("method %q has no function", m.Name)
		}
	}
	return errors.Join(errs...)
}

// Instance makes a grain for one activation. The error is the factory's own, or of code Internal if
// it returned neither a grain nor an error, or a nil pointer. A panic of the factory is not recovered here.
func (k *Kind) Instance(self Self) (any, error) {
	if k.impl == nil || k.impl.factory == nil {
		return nil, Errorf(Internal, "kind %q has no factory: %w", k.Name, core.ErrInvalid)
	}
	g, err := k.impl.factory(self)
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, Errorf(Internal, "the factory of kind %q returned neither a grain nor an error", k.Name)
	}
	if v := reflect.ValueOf(g); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, Errorf(Internal, "the factory of kind %q returned a nil %T and no error: return a grain, or the error for which there is none", k.Name, g)
	}
	return g, nil
}

// Method finds a method by index and name. A name decides where both are given and disagree, so that
// a caller generated from another order of methods still finds its own. An empty name leaves it to
// the index, an index of -1 to the name.
func (k *Kind) Method(index int, name string) (*MethodSpec, bool) {
	if k.impl == nil {
		return nil, false
	}
	if index >= 0 && index < len(k.impl.methods) {
		if m := &k.impl.methods[index]; name == "" || m.Name == name {
			return m, true
		}
	}
	if i, ok := k.impl.byName[name]; ok && name != "" {
		return &k.impl.methods[i], true
	}
	return nil, false
}

// Methods walks the methods in the order of their index.
func (k *Kind) Methods() iter.Seq[*MethodSpec] {
	return func(yield func(*MethodSpec) bool) {
		if k.impl == nil {
			return
		}
		for i := range k.impl.methods {
			if !yield(&k.impl.methods[i]) {
				return
			}
		}
	}
}

// UnknownMethod is the error of a call of a method that the kind does not have: Unimplemented,
// Undelivered.
func UnknownMethod(to core.Identity, index int, name string) error {
	if name == "" {
		return core.WithDelivery(Errorf(Unimplemented, "kind %q has no method of index %d; its member may run another version of it than its caller", to.Kind, index), core.Undelivered)
	}
	return core.WithDelivery(Errorf(Unimplemented, "kind %q has no method %q; a name is wrong, or its member runs another version than its caller", to.Kind, name), core.Undelivered)
}
