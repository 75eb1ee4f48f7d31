package grain_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// limited is a good kind but for what set says.
func limited(set func(*grain.Kind)) grain.Kind {
	k := plainKind()
	set(&k)
	return k
}

func TestKindCheck(t *testing.T) {
	good := func() grain.Kind { return plainKind() }
	text := grain.Method("Text", (*plain).Text)
	for name, row := range map[string]struct {
		kind grain.Kind
		want []string // parts of the error; none: no error
	}{
		"good":            {good(), nil},
		"zero kind":       {grain.Kind{}, []string{"the name is empty", "made without KindOf"}},
		"bad name":        {grain.KindOf("a b", func(grain.Self) (*plain, error) { return nil, nil }), []string{`"a b"`}},
		"no factory":      {grain.KindOf[*plain]("Plain", nil, text), []string{"the factory is nil"}},
		"same name twice": {grain.KindOf("Plain", func(grain.Self) (*plain, error) { return nil, nil }, text, text), []string{`two methods named "Text"`}},
		"no name":         {grain.KindOf("Plain", func(grain.Self) (*plain, error) { return nil, nil }, grain.Method("", (*plain).Text)), []string{"method 0 has no name"}},
		"names that are no text": {grain.KindOf("Plain", func(grain.Self) (*plain, error) { return nil, nil },
			grain.Method("a\xff", (*plain).Text), grain.Method("a\nb", (*plain).Text), grain.Method(strings.Repeat("m", 129), (*plain).Text), grain.Method(strings.Repeat("m", 128), (*plain).Text)),
			[]string{`method 0 is named "a\xff"`, `method 1 is named "a\nb"`, "method 2 is named"}},
		"limits": {func() grain.Kind {
			k := good()
			k.Mailbox, k.MaxActivations, k.MaxNewRate, k.Level = -1, -2, -3, 4
			return k
		}(), []string{"mailbox -1, activations -2, new ones a second -3", "level 4"}},
		"mailbox alone":     {limited(func(k *grain.Kind) { k.Mailbox = -1 }), []string{"mailbox -1, activations 0, new ones a second 0"}},
		"activations alone": {limited(func(k *grain.Kind) { k.MaxActivations = -1 }), []string{"mailbox 0, activations -1, new ones a second 0"}},
		"new ones alone":    {limited(func(k *grain.Kind) { k.MaxNewRate = -1 }), []string{"mailbox 0, activations 0, new ones a second -1"}},
		"wrong index": {grain.NewKind("Plain", func(grain.Self) (any, error) { return nil, nil },
			[]grain.MethodSpec{{Name: "A", Index: 1}}), []string{`method "A" has index 1 at position 0`}},
	} {
		err := row.kind.Check()
		if row.want == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v is not ErrInvalid", name, err)
		}
		if n := strings.Count(err.Error(), "is named"); name == "names that are no text" && n != 3 {
			t.Errorf("%s: %d complaints: %v", name, n, err)
		}
		for _, part := range row.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", name, err, part)
			}
		}
	}
}

func TestKindMethod(t *testing.T) {
	k := plainKind()
	var names []string
	for m := range k.Methods() {
		if m.Index != len(names) {
			t.Errorf("%s has index %d", m.Name, m.Index)
		}
		names = append(names, m.Name)
	}
	for _, row := range []struct {
		index int
		name  string
		want  string // empty: none
	}{
		{0, "", names[0]},
		{2, names[2], names[2]},
		{-1, names[3], names[3]},
		{0, names[3], names[3]}, // generated from another order
		{len(names), names[1], names[1]},
		{len(names), "", ""},
		{-1, "", ""},
		{0, "Nope", ""},
	} {
		m, ok := k.Method(row.index, row.name)
		if ok != (row.want != "") || ok && m.Name != row.want {
			t.Errorf("Method(%d, %q) = %v, %v", row.index, row.name, m, ok)
		}
	}
	if m, _ := k.Method(-1, "Kind"); !m.Reentrant {
		t.Error("Reentrant is lost")
	}
	var zero grain.Kind
	if _, ok := zero.Method(0, ""); ok {
		t.Error("the zero kind has a method")
	}
	for range zero.Methods() {
		t.Error("the zero kind has methods")
	}
	for _, name := range []string{"", "Nope"} {
		err := grain.UnknownMethod(plainID, 99, name)
		if grain.CodeOf(err) != grain.Unimplemented || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%v, %v", err, core.DeliveryOf(err))
		}
	}
}

func TestKindInstance(t *testing.T) {
	boom := errors.New("boom")
	for name, row := range map[string]struct {
		kind grain.Kind
		ok   bool
		is   error
	}{
		"made":       {plainKind(), true, nil},
		"error":      {grain.KindOf("K", func(grain.Self) (*plain, error) { return nil, boom }), false, boom},
		"nil":        {grain.NewKind("K", func(grain.Self) (any, error) { return nil, nil }, nil), false, &grain.Error{Code: grain.Internal}},
		"no factory": {grain.KindOf[*plain]("K", nil), false, core.ErrInvalid},
		"zero kind":  {grain.Kind{}, false, core.ErrInvalid},
	} {
		g, err := row.kind.Instance(grain.Self{})
		if (err == nil) != row.ok || (g != nil) != row.ok || row.is != nil && !errors.Is(err, row.is) {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
}

// texts has methods as generated code makes them.
type texts interface {
	Say(ctx context.Context, m *wrapperspb.StringValue) (*wrapperspb.StringValue, error)
	Note(ctx context.Context, m *wrapperspb.StringValue) error
}

type textGrain struct {
	answer *wrapperspb.StringValue
	noted  string
}

func (g *textGrain) Say(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return g.answer, nil
}

func (g *textGrain) Note(_ context.Context, m *wrapperspb.StringValue) error {
	g.noted = m.Value // panics on nil
	return nil
}

func textKind(g *textGrain) grain.Kind {
	return grain.NewKind("Text", func(grain.Self) (texts, error) { return g, nil }, []grain.MethodSpec{
		grain.ProtoMethod(grain.MethodSpec{Name: "Say", Index: 0, Idempotent: true}, texts.Say),
		grain.ProtoOneWay(grain.MethodSpec{Name: "Note", Index: 1}, texts.Note),
	})
}

func TestProtoMethods(t *testing.T) {
	g := &textGrain{}
	everyway(t, textKind(g), func(t *testing.T, n *node) {
		to := core.Identity{Kind: "Text", Key: "1"}
		if m, _ := n.kind.Method(0, "Say"); !m.Idempotent || m.OneWay {
			t.Errorf("Say is %+v", m)
		}
		if m, _ := n.kind.Method(1, "Note"); !m.OneWay {
			t.Errorf("Note is %+v", m)
		}
		var none *wrapperspb.StringValue
		g.answer = nil
		out, err := grain.Call[*wrapperspb.StringValue](t.Context(), n, to, "Say", none)
		if err != nil || out == nil || out.Value != "" {
			t.Errorf("a nil answer came back as %v, %v", out, err)
		}
		g.noted = "?"
		if _, err := n.Call(t.Context(), grain.Request{To: to, Method: "Note", Index: 1, Arg: none}); err != nil || g.noted != "" {
			t.Errorf("a nil argument: %v, %q", err, g.noted)
		}
		g.answer = wrapperspb.String("yes")
		out, err = grain.Call[*wrapperspb.StringValue](t.Context(), n, to, "Say", wrapperspb.String("?"))
		if err != nil || out.GetValue() != "yes" {
			t.Errorf("Say: %v, %v", out, err)
		}
		if same := out == g.answer; same == n.remote {
			t.Errorf("by pointer: %v", same)
		}
		for name, arg := range map[string]any{"plain value": "text", "nil": nil} {
			_, err := grain.Call[*wrapperspb.StringValue](t.Context(), n, to, "Say", arg)
			if grain.CodeOf(err) != grain.InvalidArgument {
				t.Errorf("%s as argument: %v", name, err)
			}
		}
		if _, err := grain.Call[string](t.Context(), n, to, "Say", wrapperspb.String("?")); grain.CodeOf(err) != grain.Internal {
			t.Errorf("the answer as text: %v", err)
		}
	})
}

func TestDecodeRefusesBrokenArguments(t *testing.T) {
	k := textKind(&textGrain{})
	m, _ := k.Method(0, "")
	for _, data := range []string{"\xff", "\x0a\x05ab", "\x0a\x01\xff"} {
		if _, err := m.Decode(grain.CodecProto, []byte(data)); grain.CodeOf(err) != grain.InvalidArgument {
			t.Errorf("%q: %v", data, err)
		}
	}
	for _, codec := range []string{grain.CodecJSON, "gob"} {
		if _, err := m.Decode(codec, []byte(`""`)); grain.CodeOf(err) != grain.InvalidArgument {
			t.Errorf("codec %q: %v", codec, err)
		}
	}
}

// A call by a generated client allocates nothing on its way to a local grain and back.
func TestLocalCallAllocatesNothing(t *testing.T) {
	g := &textGrain{answer: wrapperspb.String("yes")}
	n := newNode(t, textKind(g), false)
	ctx, to, arg := t.Context(), core.Identity{Kind: "Text", Key: "1"}, wrapperspb.String("?")
	var c grain.Caller = n
	opts := []grain.CallOption{grain.Idempotent(), grain.Timeout(1)}
	if got := testing.AllocsPerRun(100, func() {
		out, err := grain.Do[*wrapperspb.StringValue](ctx, c, grain.Request{To: to, Method: "Say", Arg: arg, Options: opts})
		if err != nil || out != g.answer || !grain.ResolveOptions(n.sent.Options).Idempotent {
			t.Error(out, err)
		}
	}); got != 0 {
		t.Errorf("%v allocations a call", got)
	}
}

// allocated is how many bytes f allocates, by the counter of the whole process.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzDecode: nothing that comes in for a method can do more than be refused.
func FuzzDecode(f *testing.F) {
	for _, data := range []string{"", "{}", `{"Article":"a","Tags":["b"]}`, "[[", `"\`, "\x0a\x02ab", "null"} {
		f.Add(data)
	}
	plainly, message := plainKind(), textKind(&textGrain{answer: wrapperspb.String("yes")})
	f.Fuzz(func(t *testing.T, data string) {
		for _, k := range []*grain.Kind{&plainly, &message} {
			for m := range k.Methods() {
				var arg any
				var err error
				used := allocated(func() { arg, err = m.Decode(m.ArgCodec, []byte(data)) })
				if limit := uint64(64*len(data) + 64<<10); used > limit { // a number of two bytes in an any takes 24, before its slice grows
					t.Errorf("%s: %d bytes allocated for %d, the limit is %d", m.Name, used, len(data), limit)
				}
				if err != nil {
					if grain.CodeOf(err) != grain.InvalidArgument {
						t.Errorf("%s: %v", m.Name, err)
					}
					continue
				}
				g, err := k.Instance(grain.Self{})
				if err != nil {
					t.Fatal(err)
				}
				v, err := m.Invoke(t.Context(), g, arg)
				if err != nil {
					continue
				}
				if _, err := m.EncodeReply(v, nil); err != nil {
					t.Errorf("%s: %v", m.Name, err)
				}
			}
		}
	})
}
