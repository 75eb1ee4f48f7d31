package graingen_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/graingen/internal/golden/edition2023pb"
	"github.com/granary-go/granary/engine/graingen/internal/golden/edition2024pb"
	"github.com/granary-go/granary/engine/graingen/internal/golden/namespb"
	namesctx "github.com/granary-go/granary/engine/graingen/internal/golden/namespb/ctx"
	namesf "github.com/granary-go/granary/engine/graingen/internal/golden/namespb/f"
	namesr "github.com/granary-go/granary/engine/graingen/internal/golden/namespb/r"
	namesreq "github.com/granary-go/granary/engine/graingen/internal/golden/namespb/req"
	"github.com/granary-go/granary/engine/graingen/internal/golden/proto2pb"
	"github.com/granary-go/granary/engine/graingen/internal/golden/proto3pb"
)

// node runs one kind in this process, by pointer.
type node struct {
	kind  grain.Kind
	grain any
	sent  grain.Request
	tells int
}

func newNode(t *testing.T, kind grain.Kind) *node {
	t.Helper()
	if err := kind.Check(); err != nil {
		t.Fatal(err)
	}
	g, err := kind.Instance(grain.Self{})
	if err != nil {
		t.Fatal(err)
	}
	return &node{kind: kind, grain: g}
}

func (n *node) Call(ctx context.Context, r grain.Request) (grain.Reply, error) {
	n.sent = r
	m, ok := n.kind.Method(r.Index, r.Method)
	if !ok {
		return grain.Reply{}, grain.UnknownMethod(r.To, r.Index, r.Method)
	}
	v, err := m.Invoke(ctx, n.grain, r.Arg)
	return grain.Reply{Value: v}, err
}

func (n *node) Tell(ctx context.Context, r grain.Request) error {
	n.tells++
	_, err := n.Call(ctx, r)
	return err
}

// cart is a grain that has only some of the methods.
type cart struct {
	proto3pb.UnimplementedCartGrain
	lines   map[string]int32
	touched time.Time
	reply   proto3pb.AddReply
}

func (c *cart) Add(_ context.Context, r *proto3pb.AddRequest) (*proto3pb.AddReply, error) {
	if r.GetSku() == "piano" {
		return nil, proto3pb.ErrCartFull("no room for a %s", r.GetSku())
	}
	c.lines[r.GetSku()]++
	c.reply.Lines = int32(len(c.lines))
	return &c.reply, nil
}

func (c *cart) Get(context.Context, *emptypb.Empty) (*proto3pb.Stock_Content, error) {
	return &proto3pb.Stock_Content{}, nil
}

func (c *cart) Touched(_ context.Context, at *timestamppb.Timestamp) error {
	c.touched = at.AsTime()
	return nil
}

func newCart(t *testing.T) (*cart, *node) {
	c := &cart{lines: make(map[string]int32)}
	return c, newNode(t, proto3pb.CartKind(func(grain.Self) (proto3pb.CartGrain, error) { return c, nil }))
}

func TestGeneratedClient(t *testing.T) {
	c, n := newCart(t)
	client := proto3pb.Cart(n, "alice")

	reply, err := client.Add(t.Context(), &proto3pb.AddRequest{Sku: "tea"})
	if err != nil || reply.GetLines() != 1 {
		t.Errorf("Add: %v, %v", reply, err)
	}
	if to := (core.Identity{Kind: "Cart", Key: "alice"}); n.sent.To != to || n.sent.Method != "Add" || n.sent.Index != 0 || n.sent.Options != nil {
		t.Errorf("sent %+v", n.sent)
	}
	_, err = client.Add(t.Context(), &proto3pb.AddRequest{Sku: "piano"})
	if !proto3pb.IsCartFull(err) || proto3pb.IsSoldOut(err) || err.Error() != "ERROR_REASON_CART_FULL: no room for a piano" {
		t.Errorf("Add: %v", err)
	}
	if !errors.Is(err, &grain.Error{Reason: "ERROR_REASON_CART_FULL"}) {
		t.Errorf("%v is not of its reason", err)
	}
	now := time.Unix(5, 0).UTC()
	if err := client.Touched(t.Context(), timestamppb.New(now)); err != nil || c.touched != now || n.tells != 1 {
		t.Errorf("Touched: %v, %v, %d tells", err, c.touched, n.tells)
	}
	if _, err := client.Visit(t.Context(), nil); grain.CodeOf(err) != grain.Unimplemented { //nolint:staticcheck // deprecated on purpose
		t.Errorf("Visit: %v", err)
	}
}

// Options of the .proto file come before those of the client.
func TestGeneratedOptions(t *testing.T) {
	_, n := newCart(t)
	client := proto3pb.Cart(n, "alice")
	for _, row := range []struct {
		client  proto3pb.CartRef
		timeout time.Duration
		header  string
	}{
		{client, 2 * time.Second, ""},
		{client.With(grain.Timeout(time.Minute)), time.Minute, ""},
		{client.With(grain.Header("a", "1")).With(grain.Header("a", "2")), 2 * time.Second, "2"},
		{client, 2 * time.Second, ""}, // With changed a copy
	} {
		if _, err := row.client.Get(t.Context(), &emptypb.Empty{}); err != nil {
			t.Fatal(err)
		}
		o := grain.ResolveOptions(n.sent.Options)
		if !o.Idempotent || o.Timeout != row.timeout || o.Headers["a"] != row.header {
			t.Errorf("%+v, want timeout %v and header %q", o, row.timeout, row.header)
		}
	}
	for name, want := range map[string]grain.MethodSpec{
		"Add":     {Index: 0},
		"Get":     {Index: 1, Idempotent: true, Timeout: 2 * time.Second},
		"Touched": {Index: 2, Idempotent: true, OneWay: true},
		"Visit":   {Index: 3, Reentrant: true},
	} {
		m, ok := n.kind.Method(-1, name)
		if !ok || m.Index != want.Index || m.Idempotent != want.Idempotent || m.Timeout != want.Timeout ||
			m.OneWay != want.OneWay || m.Reentrant != want.Reentrant {
			t.Errorf("%s is %+v", name, m)
		}
	}
}

// A generated client, made anew for each call, costs no allocation.
func TestGeneratedClientAllocatesNothing(t *testing.T) {
	_, n := newCart(t)
	ctx, add, get := t.Context(), &proto3pb.AddRequest{Sku: "tea"}, &emptypb.Empty{}
	if got := testing.AllocsPerRun(100, func() {
		if _, err := proto3pb.Cart(n, "alice").Add(ctx, add); err != nil {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("Add: %v allocations", got)
	}
	if got := testing.AllocsPerRun(100, func() {
		if _, err := proto3pb.Cart(n, "alice").Get(ctx, get); err != nil {
			t.Error(err)
		}
	}); got != 1 { // the handler's own
		t.Errorf("Get: %v allocations", got)
	}
}

func TestFake(t *testing.T) {
	fake := &proto3pb.FakeCart{
		AddFunc: func(_ context.Context, r *proto3pb.AddRequest) (*proto3pb.AddReply, error) {
			return &proto3pb.AddReply{Lines: int32(len(r.GetSku()))}, nil
		},
	}
	for name, client := range map[string]proto3pb.CartClient{
		"as client": fake,
		"as grain":  proto3pb.Cart(newNode(t, proto3pb.CartKind(func(grain.Self) (proto3pb.CartGrain, error) { return fake, nil })), "a"),
	} {
		if reply, err := client.Add(t.Context(), &proto3pb.AddRequest{Sku: "tea"}); err != nil || reply.GetLines() != 3 {
			t.Errorf("%s: Add: %v, %v", name, reply, err)
		}
		if _, err := client.Get(t.Context(), nil); grain.CodeOf(err) != grain.Unimplemented {
			t.Errorf("%s: Get: %v", name, err)
		}
		if err := client.Touched(t.Context(), nil); grain.CodeOf(err) != grain.Unimplemented {
			t.Errorf("%s: Touched: %v", name, err)
		}
	}
}

// The other syntaxes run as well.
func TestOtherSyntaxes(t *testing.T) {
	by := int64(2)
	counter := &proto2pb.FakeCounter{AddFunc: func(_ context.Context, s *proto2pb.Step) (*proto2pb.Total, error) {
		if s.GetBy() != by {
			return nil, proto2pb.ErrNotFound("no step %d", s.GetBy())
		}
		return &proto2pb.Total{}, nil
	}}
	n := newNode(t, proto2pb.CounterKind(func(grain.Self) (proto2pb.CounterGrain, error) { return counter, nil }))
	if total, err := proto2pb.Counter(n, "a").Add(t.Context(), &proto2pb.Step{By: &by}); err != nil || total.GetValue() != 7 {
		t.Errorf("proto2: %v, %v", total, err)
	}
	// A reason with the name of a code is that code.
	if _, err := proto2pb.Counter(n, "a").Add(t.Context(), &proto2pb.Step{}); !proto2pb.IsNotFound(err) || grain.CodeOf(err) != grain.NotFound {
		t.Errorf("proto2: %v", err)
	}

	lock := &edition2023pb.FakeLockService{AcquireLockFunc: func(_ context.Context, r *edition2023pb.Lock_Request) (*edition2023pb.Lock_Held, error) {
		return &edition2023pb.Lock_Held{Owner: r.GetOwner()}, nil
	}}
	n = newNode(t, edition2023pb.LockServiceKind(func(grain.Self) (edition2023pb.LockServiceGrain, error) { return lock, nil }))
	if held, err := edition2023pb.LockService(n, "a").AcquireLock(t.Context(), &edition2023pb.Lock_Request{Owner: "me"}); err != nil || held.GetOwner() != "me" {
		t.Errorf("edition 2023: %v, %v", held, err)
	}

	room := &edition2024pb.FakeRoom{JoinFunc: func(_ context.Context, r *edition2024pb.JoinRequest) (*edition2024pb.JoinReply, error) {
		return edition2024pb.JoinReply_builder{People: new(int32(len(r.GetName())))}.Build(), nil
	}}
	n = newNode(t, edition2024pb.RoomKind(func(grain.Self) (edition2024pb.RoomGrain, error) { return room, nil }))
	in := edition2024pb.JoinRequest_builder{Name: new("ann")}.Build()
	if reply, err := edition2024pb.Room(n, "a").Join(t.Context(), in); err != nil || reply.GetPeople() != 3 {
		t.Errorf("edition 2024: %v, %v", reply, err)
	}
}

// Packages of messages that are named like the parameters of generated methods are still what they are.
func TestImportsNamedLikeParameters(t *testing.T) {
	n := newNode(t, namespb.NamesKind(func(grain.Self) (namespb.NamesGrain, error) {
		return &namespb.FakeNames{
			ContextFunc: func(_ context.Context, in *namesctx.Text) (*namesreq.Text, error) {
				return &namesreq.Text{Text: in.GetText() + "1"}, nil
			},
			RequestFunc: func(_ context.Context, in *namesreq.Text) (*namesr.Text, error) {
				return &namesr.Text{Text: in.GetText() + "2"}, nil
			},
			ReceiverFunc: func(_ context.Context, in *namesr.Text) (*namesf.Text, error) {
				return &namesf.Text{Text: in.GetText() + "3"}, nil
			},
			FakeFunc: func(_ context.Context, in *namesf.Text) (*namesctx.Text, error) {
				return &namesctx.Text{Text: in.GetText() + "4"}, nil
			},
			TellFunc: func(context.Context, *namesreq.Text) error { return nil },
		}, nil
	}))
	ref := namespb.Names(n, "a")
	one, err := ref.Context(t.Context(), &namesctx.Text{Text: "0"})
	two, err2 := ref.Request(t.Context(), one)
	three, err3 := ref.Receiver(t.Context(), two)
	four, err4 := ref.Fake(t.Context(), three)
	if err := errors.Join(err, err2, err3, err4, ref.Tell(t.Context(), one)); err != nil || four.GetText() != "01234" || n.tells != 1 {
		t.Errorf("%q, %d sent, %v", four.GetText(), n.tells, err)
	}
}

// Whatever packages of messages are named, no parameter, receiver or variable of a generated method that uses
// them has the name of an import.
func TestNoLocalHidesAnImport(t *testing.T) {
	for _, names := range [][]string{
		{"req"}, {"ctx"}, {"r"}, {"f"}, {"err"}, {"grain"}, {"core"}, {"context"}, {"time"}, {"caller"}, {"key"}, {"factory"},
		{"options"}, {"format"}, {"args"}, {"ctx", "ctx_"}, {"ctx_", "ctx"}, {"req", "req1"}, {"r", "f"}, {"nil"}, {"error"}, {"string"},
	} {
		r := request(t, "proto3")
		f := own(r)
		for i, name := range names {
			imported := &descriptorpb.FileDescriptorProto{
				Name: proto.String(name + strconv.Itoa(i) + ".proto"), Package: proto.String("other.p" + strconv.Itoa(i)), Syntax: proto.String("proto3"),
				Options:     &descriptorpb.FileOptions{GoPackage: proto.String("example.com/" + strconv.Itoa(i) + "/" + name)},
				MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
			}
			r.ProtoFile = append([]*descriptorpb.FileDescriptorProto{imported}, r.ProtoFile...)
			f.Dependency = append(f.Dependency, imported.GetName())
			m := f.Service[0].Method[0]
			m.InputType = proto.String(".other.p0.M")
			m.OutputType = proto.String(".other.p" + strconv.Itoa(i) + ".M")
		}
		response, err := generate(t, r)
		if err != nil {
			t.Fatalf("%q: %v", names, err)
		}
		code := response.File[0].GetContent()
		if hidden := hiddenImports(t, code); len(hidden) > 0 {
			t.Errorf("%q: %q are hidden:\n%s", names, hidden, code)
		}
	}
}

// hiddenImports are the imports of a file that a function of it names and hides by a name of its own.
func hiddenImports(t *testing.T, code string) (hidden []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", code, 0)
	if err != nil {
		t.Fatalf("%v:\n%s", err, code)
	}
	imported := map[string]bool{}
	for _, i := range file.Imports {
		at, _ := strconv.Unquote(i.Path.Value)
		name := path.Base(at)
		if i.Name != nil {
			name = i.Name.Name
		}
		imported[name] = true
	}
	for _, d := range file.Decls {
		function, is := d.(*ast.FuncDecl)
		if !is {
			continue
		}
		own := map[string]bool{}
		for _, list := range []*ast.FieldList{function.Recv, function.Type.Params, function.Type.Results} {
			if list == nil {
				continue
			}
			for _, field := range list.List {
				for _, name := range field.Names {
					own[name.Name] = true
				}
			}
		}
		ast.Inspect(function.Type, func(n ast.Node) bool {
			if s, is := n.(*ast.SelectorExpr); is {
				if x, is := s.X.(*ast.Ident); is && imported[x.Name] && own[x.Name] {
					hidden = append(hidden, function.Name.Name+": "+x.Name)
				}
			}
			return true
		})
	}
	return hidden
}
