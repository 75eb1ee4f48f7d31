package graingen_test

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/granary-go/granary/engine/graingen"
)

func ExampleGenerate() {
	gen, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{ // what a compiler sends
		FileToGenerate: []string{"cart.proto"},
		ProtoFile: []*descriptorpb.FileDescriptorProto{{
			Name: proto.String("cart.proto"), Package: proto.String("shop"), Syntax: proto.String("proto3"),
			Options:     &descriptorpb.FileOptions{GoPackage: proto.String("example.com/shop/cartpb")},
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Item")}},
			Service: []*descriptorpb.ServiceDescriptorProto{{
				Name: proto.String("Cart"),
				Method: []*descriptorpb.MethodDescriptorProto{{
					Name: proto.String("Add"), InputType: proto.String(".shop.Item"), OutputType: proto.String(".shop.Item"),
				}},
			}},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(graingen.Generate(gen))
	for _, f := range gen.Response().File {
		fmt.Println(f.GetName())
		for line := range strings.Lines(f.GetContent()) {
			if strings.HasPrefix(line, "func Cart") {
				fmt.Print(line)
			}
		}
	}
	// Output:
	// <nil>
	// example.com/shop/cartpb/cart_grain.pb.go
	// func CartKind(factory func(grain.Self) (CartGrain, error)) grain.Kind {
	// func Cart(caller grain.Caller, key string) CartRef {
}
