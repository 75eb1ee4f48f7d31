package graingen

import (
	"time"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/granary-go/granary/protos/optionspb"
)

// options are what a service says about one method.
type options struct {
	reentrant, idempotent, oneWay bool
	timeout                       time.Duration // 0: not said
}

func optionsOf(m *protogen.Method, inherited bool) (options, error) {
	raw, ok := m.Desc.Options().(*descriptorpb.MethodOptions)
	if !ok || raw == nil {
		return options{}, nil
	}
	var o options
	if inherited {
		o.reentrant = inheritedReentrant(raw.ProtoReflect().GetUnknown())
	}
	own, ok := proto.GetExtension(raw, optionspb.E_Method).(*optionspb.MethodOptions)
	if !ok || own == nil {
		return o, nil
	}
	o.reentrant = o.reentrant || own.GetReentrant()
	o.idempotent, o.oneWay = own.GetIdempotent(), own.GetOneWay()
	if d := own.GetTimeout(); d != nil {
		if err := d.CheckValid(); err != nil {
			return o, errorAt(m.Desc, "service %s: method %s: timeout: %w", m.Parent.Desc.Name(), m.Desc.Name(), err)
		}
		o.timeout = d.AsDuration()
	}
	return o, nil
}

// The option that Proto.Actor's generator reads. It is taken from the descriptor as it is and never
// registered: every tutorial uses the number 50000, so a program may well have another one.
const (
	inheritedNumber  protowire.Number      = 50000
	inheritedMessage protoreflect.FullName = "options.MethodOptions"
	inheritedField   protowire.Number      = 1 // bool reenterable
)

// inheritedOption reports whether extension 50000 of methods is Proto.Actor's in these files.
func inheritedOption(gen *protogen.Plugin) bool {
	for _, f := range gen.Files {
		for i := range f.Desc.Extensions().Len() {
			x := f.Desc.Extensions().Get(i)
			if x.ContainingMessage().FullName() == "google.protobuf.MethodOptions" &&
				x.Number() == inheritedNumber && x.Message() != nil && x.Message().FullName() == inheritedMessage {
				return true
			}
		}
	}
	return false
}

// inheritedReentrant looks for the option among the unknown fields of a method's options.
func inheritedReentrant(b []byte) bool {
	found := false
	eachField(b, func(n protowire.Number, t protowire.Type, value []byte) {
		if n != inheritedNumber || t != protowire.BytesType {
			return
		}
		message, _ := protowire.ConsumeBytes(value)
		eachField(message, func(n protowire.Number, t protowire.Type, value []byte) {
			if v, size := protowire.ConsumeVarint(value); n == inheritedField && t == protowire.VarintType && size > 0 {
				found = v != 0
			}
		})
	})
	return found
}

// eachField calls f for each field in b, up to the first that is malformed.
func eachField(b []byte, f func(n protowire.Number, t protowire.Type, value []byte)) {
	for len(b) > 0 {
		n, t, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(n, t, b[tag:])
		if size < 0 {
			return
		}
		f(n, t, b[tag:tag+size])
		b = b[tag+size:]
	}
}
