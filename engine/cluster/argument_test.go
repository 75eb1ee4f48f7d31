package cluster_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

// An argument of another type is refused alike here and on another member: the method did not run.
func TestArgumentOfAnotherType(t *testing.T) {
	for name, arg := range map[string]any{"a message": wrapperspb.String("x"), "a number": 7, "too deep": grain.JSON(strings.Repeat("[", 65))} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, nil, func(t *testing.T, caller *cluster.Node, p *pair) {
				_, err := grain.Call[string](t.Context(), caller, core.Identity{Kind: "Keeper", Key: "k"}, "Keep", arg)
				if grain.CodeOf(err) != grain.InvalidArgument || core.DeliveryOf(err) != core.Undelivered {
					t.Errorf("%v: %v, %v", err, grain.CodeOf(err), core.DeliveryOf(err))
				}
				if p.events.count("keep") != 0 {
					t.Errorf("events %v", p.events.take())
				}
			})
		})
	}
}

// A message without a field that proto2 requires is no argument and no result, alike here and on another
// member: without the argument's the method did not run, without the result's it did. A nil message is one
// without any field.
func TestRequiredFields(t *testing.T) {
	type part = descriptorpb.UninterpretedOption_NamePart
	type option = descriptorpb.UninterpretedOption // requires nothing but in its parts
	whole := &part{NamePart: proto.String("x"), IsExtension: proto.Bool(true)}
	grains := func(k *grain.Kind) {
		deep := func(_ *int, _ context.Context, o *option) (*option, error) { return o, nil }
		flat := func(_ *int, _ context.Context, p *part) (*part, error) {
			switch p.GetNamePart() {
			case "nil":
				return nil, nil
			case "lacking":
				return &part{}, nil
			}
			return p, nil
		}
		ran := func(_ *int, _ context.Context, _ *part) error { return nil }
		*k = grain.NewKind("Keeper", func(grain.Self) (*int, error) { return new(int), nil }, []grain.MethodSpec{
			grain.ProtoMethod(grain.MethodSpec{Name: "Flat"}, flat), grain.ProtoMethod(grain.MethodSpec{Name: "Deep", Index: 1}, deep),
			grain.ProtoOneWay(grain.MethodSpec{Name: "Tell", Index: 2}, ran),
		})
	}
	plain := func(k *grain.Kind) {
		*k = grain.KindOf("Keeper", func(grain.Self) (*int, error) { return new(int), nil },
			grain.Method("Flat", func(_ *int, _ context.Context, p *part) (*part, error) {
				if n := p.GetNamePart(); n == "nil" || n == "lacking" {
					return map[string]*part{"lacking": {}}[n], nil
				}
				return p, nil
			}),
			grain.Method("Deep", func(_ *int, _ context.Context, o *option) (*option, error) { return o, nil }),
			grain.Method("Tell", func(*int, context.Context, *part) (bool, error) { return true, nil }))
	}
	for name, kind := range map[string]func(*grain.Kind){"generated": grains, "plain": plain} {
		for _, tt := range []struct {
			name, method string
			arg          proto.Message
			code         grain.Code
			delivery     core.Delivery
		}{
			{"whole", "Flat", whole, grain.OK, core.Delivered},
			{"lacking", "Flat", &part{NamePart: proto.String("x")}, grain.InvalidArgument, core.Undelivered},
			{"nil", "Flat", (*part)(nil), grain.InvalidArgument, core.Undelivered},
			{"whole within", "Deep", &option{Name: []*part{whole}}, grain.OK, core.Delivered},
			{"lacking within", "Deep", &option{Name: []*part{whole, {}}}, grain.InvalidArgument, core.Undelivered},
			{"nil that requires nothing", "Deep", (*option)(nil), grain.OK, core.Delivered},
			{"nil result", "Flat", &part{NamePart: proto.String("nil"), IsExtension: proto.Bool(true)}, grain.Internal, core.Delivered},
			{"lacking result", "Flat", &part{NamePart: proto.String("lacking"), IsExtension: proto.Bool(true)}, grain.Internal, core.Delivered},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				bothWays(t, kind, func(t *testing.T, caller *cluster.Node, _ *pair) {
					to := core.Identity{Kind: "Keeper", Key: "k"}
					var err error
					if tt.method == "Deep" {
						_, err = grain.Call[*option](t.Context(), caller, to, tt.method, tt.arg)
					} else {
						_, err = grain.Call[*part](t.Context(), caller, to, tt.method, tt.arg)
					}
					if grain.CodeOf(err) != tt.code || err != nil && core.DeliveryOf(err) != tt.delivery {
						t.Errorf("%v: %v, %v; want %v, %v", err, grain.CodeOf(err), core.DeliveryOf(err), tt.code, tt.delivery)
					}
					err = grain.Tell(t.Context(), caller, to, "Tell", &part{})
					if grain.CodeOf(err) != grain.InvalidArgument || core.DeliveryOf(err) != core.Undelivered {
						t.Errorf("told: %v: %v, %v", err, grain.CodeOf(err), core.DeliveryOf(err))
					}
				})
			})
		}
	}
}
