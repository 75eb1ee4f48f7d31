package graingen

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	contextPackage protogen.GoImportPath = "context"
	timePackage    protogen.GoImportPath = "time"
	corePackage    protogen.GoImportPath = "github.com/granary-go/granary/core"
	grainPackage   protogen.GoImportPath = "github.com/granary-go/granary/engine/grain"
)

// names are those that the code for one service declares in its package.
type names struct {
	cart, kindName, grain, client, kind, ref, unimplemented, fake, options string
}

func namesOf(service string) names {
	return names{
		cart:          service,
		kindName:      service + "KindName",
		grain:         service + "Grain",
		client:        service + "Client",
		kind:          service + "Kind",
		ref:           service + "Ref",
		unimplemented: "Unimplemented" + service + "Grain",
		fake:          "Fake" + service,
		options:       "optionsOf" + service,
	}
}

func (n names) all() []string {
	return []string{n.cart, n.kindName, n.grain, n.client, n.kind, n.ref, n.unimplemented, n.fake, n.options}
}

// locals are the names of parameters and receivers within the generated methods.
type locals struct{ ctx, req, ref, fake string }

// localsIn chooses names that no import of the file has, since within a method they would hide it. So all
// packages whose types the methods use are imported first.
func (f file) localsIn(g *protogen.GeneratedFile) locals {
	imported := map[string]bool{}
	use := func(id protogen.GoIdent) {
		if name, _, qualified := strings.Cut(g.QualifiedGoIdent(id), "."); qualified {
			imported[name] = true
		}
	}
	for _, s := range f.services {
		for _, m := range s.methods {
			use(contextPackage.Ident("Context"))
			use(m.Input.GoIdent)
			if !m.oneWay {
				use(m.Output.GoIdent)
			}
		}
	}
	free := func(name string) string {
		for imported[name] {
			name += "_"
		}
		return name
	}
	return locals{ctx: free("ctx"), req: free("req"), ref: free("r"), fake: free("f")}
}

func (s service) write(g *protogen.GeneratedFile, l locals) {
	n := namesOf(s.GoName)
	s.writeInterfaces(g, n, l)
	s.writeKind(g, n)
	s.writeClient(g, n, l)
	s.writeUnimplemented(g, n)
	s.writeFake(g, n, l)
	g.P("var (")
	g.P("_ ", n.client, " = ", n.ref, "{}")
	g.P("_ ", n.client, " = (*", n.fake, ")(nil)")
	g.P("_ ", n.grain, " = (*", n.fake, ")(nil)")
	g.P("_ ", n.grain, " = ", n.unimplemented, "{}")
	g.P(")")
}

func (s service) writeInterfaces(g *protogen.GeneratedFile, n names, l locals) {
	g.P()
	g.P("// ", n.kindName, " is the kind of the grains of service ", s.Desc.FullName(), ".")
	g.P("const ", n.kindName, " = ", quote(s.GoName))

	g.P()
	comment(g, n.grain+" is what a grain of service "+string(s.Desc.FullName())+" implements. Its methods run one at a time.",
		s.Comments.Leading, s.deprecated())
	g.P("type ", n.grain, " interface {")
	for _, m := range s.methods {
		comment(g, "", m.Comments.Leading, m.deprecated())
		g.P(m.GoName, m.signature(g, l.ctx, l.req))
	}
	g.P("}")

	g.P()
	g.P("// ", n.client, " is what calls a ", s.GoName, ": a ", n.ref, "; in tests a ", n.fake, " or a grain itself.")
	g.P("type ", n.client, " interface {")
	for _, m := range s.methods {
		comment(g, "", m.Comments.Leading, m.deprecated())
		g.P(m.GoName, m.signature(g, l.ctx, l.req))
	}
	g.P("}")
}

func (s service) writeKind(g *protogen.GeneratedFile, n names) {
	g.P()
	g.P("// ", n.kind, " is the kind ", s.GoName, ". The factory makes one grain for each activation; what the grain")
	g.P("// needs of its node it gets as Self.")
	g.P("func ", n.kind, "(factory func(", ident(g, grainPackage, "Self"), ") (", n.grain, ", error)) ", ident(g, grainPackage, "Kind"), " {")
	g.P("return ", ident(g, grainPackage, "NewKind"), "(", n.kindName, ", factory, []", ident(g, grainPackage, "MethodSpec"), "{")
	for i, m := range s.methods {
		completes := "ProtoMethod"
		if m.oneWay {
			completes = "ProtoOneWay"
		}
		g.P(ident(g, grainPackage, completes), "(", m.spec(g, i), ", ", n.grain, ".", m.GoName, "),")
	}
	g.P("})")
	g.P("}")
}

// spec is the descriptor of the i-th method.
func (m method) spec(g *protogen.GeneratedFile, i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s{Name: %s, Index: %d", ident(g, grainPackage, "MethodSpec"), quote(m.GoName), i)
	if m.reentrant {
		b.WriteString(", Reentrant: true")
	}
	if m.idempotent {
		b.WriteString(", Idempotent: true")
	}
	if m.timeout > 0 {
		b.WriteString(", Timeout: " + duration(g, m.timeout))
	}
	b.WriteString("}")
	return b.String()
}

func (s service) writeClient(g *protogen.GeneratedFile, n names, l locals) {
	caller, option := ident(g, grainPackage, "Caller"), ident(g, grainPackage, "CallOption")
	g.P()
	g.P("// ", n.ref, " calls the ", s.GoName, " of one key. It is a small value, safe for concurrent use.")
	g.P("type ", n.ref, " struct {")
	g.P("caller ", caller)
	g.P("to ", ident(g, corePackage, "Identity"))
	g.P("options []", option)
	g.P("}")
	g.P()
	g.P("// ", n.cart, " is the client of the ", s.GoName, " of that key. The caller is a started node, or the Self of a grain.")
	g.P("func ", n.cart, "(caller ", caller, ", key string) ", n.ref, " {")
	g.P("return ", n.ref, "{caller: caller, to: ", ident(g, corePackage, "Identity"), "{Kind: ", n.kindName, ", Key: key}}")
	g.P("}")
	g.P()
	g.P("// With is r with options for the calls made by it, after those that it has.")
	g.P("func (r ", n.ref, ") With(options ...", option, ") ", n.ref, " {")
	g.P("r.options = ", ident(g, grainPackage, "JoinOptions"), "(r.options, options)")
	g.P("return r")
	g.P("}")
	for i, m := range s.methods {
		options := l.ref + ".options"
		if m.callOptions(g) != "" {
			options = fmt.Sprintf("%s(%s.%s, %s)", ident(g, grainPackage, "JoinOptions"), n.options, m.GoName, options)
		}
		request := fmt.Sprintf("%s{To: %s.to, Method: %s, Index: %d, Arg: %s, Options: %s}",
			ident(g, grainPackage, "Request"), l.ref, quote(m.GoName), i, l.req, options)
		g.P()
		comment(g, "", m.Comments.Leading, m.deprecated())
		if m.Comments.Leading == "" {
			g.P("// ", m.GoName, " calls method ", m.Desc.Name(), ".")
		}
		g.P("func (", l.ref, " ", n.ref, ") ", m.GoName, m.signature(g, l.ctx, l.req), " {")
		if m.oneWay {
			g.P("return ", ident(g, grainPackage, "Send"), "(", l.ctx, ", ", l.ref, ".caller, ", request, ")")
		} else {
			g.P("return ", ident(g, grainPackage, "Do"), "[*", g.QualifiedGoIdent(m.Output.GoIdent), "](", l.ctx, ", ", l.ref, ".caller, ", request, ")")
		}
		g.P("}")
	}
	s.writeOptions(g, n)
}

// writeOptions declares the options that the methods' own declarations give to each call.
func (s service) writeOptions(g *protogen.GeneratedFile, n names) {
	var with []method
	for _, m := range s.methods {
		if m.callOptions(g) != "" {
			with = append(with, m)
		}
	}
	if len(with) == 0 {
		return
	}
	option := ident(g, grainPackage, "CallOption")
	g.P()
	g.P("// ", n.options, " holds what the service says about its methods; never modified.")
	g.P("var ", n.options, " = struct {")
	for _, m := range with {
		g.P(m.GoName, " []", option)
	}
	g.P("}{")
	for _, m := range with {
		g.P(m.GoName, ": []", option, "{", m.callOptions(g), "},")
	}
	g.P("}")
}

// callOptions are the options of each call of m; empty: none.
func (m method) callOptions(g *protogen.GeneratedFile) string {
	var out []string
	if m.idempotent {
		out = append(out, ident(g, grainPackage, "Idempotent")+"()")
	}
	if m.timeout > 0 {
		out = append(out, ident(g, grainPackage, "Timeout")+"("+duration(g, m.timeout)+")")
	}
	return strings.Join(out, ", ")
}

func (s service) writeUnimplemented(g *protogen.GeneratedFile, n names) {
	g.P()
	g.P("// ", n.unimplemented, " refuses every call as Unimplemented. A grain embeds it, so that it still compiles")
	g.P("// when the service gets another method.")
	g.P("type ", n.unimplemented, " struct{}")
	for _, m := range s.methods {
		g.P()
		g.P("// ", m.GoName, " refuses the call.")
		g.P("func (", n.unimplemented, ") ", m.GoName, m.signature(g, "_", "_"), " {")
		m.writeRefusal(g, s.GoName+" does not implement "+m.GoName)
		g.P("}")
	}
}

func (s service) writeFake(g *protogen.GeneratedFile, n names, l locals) {
	g.P()
	g.P("// ", n.fake, " stands for a ", s.GoName, " in tests, as grain and as client: each method calls the function set")
	g.P("// for it, and without one refuses as Unimplemented.")
	g.P("type ", n.fake, " struct {")
	for _, m := range s.methods {
		g.P(m.GoName, "Func func", m.signature(g, l.ctx, l.req))
	}
	g.P("}")
	for _, m := range s.methods {
		g.P()
		g.P("// ", m.GoName, " calls ", m.GoName, "Func.")
		g.P("func (", l.fake, " *", n.fake, ") ", m.GoName, m.signature(g, l.ctx, l.req), " {")
		g.P("if ", l.fake, ".", m.GoName, "Func == nil {")
		m.writeRefusal(g, n.fake+": "+m.GoName+"Func is not set")
		g.P("}")
		g.P("return ", l.fake, ".", m.GoName, "Func(", l.ctx, ", ", l.req, ")")
		g.P("}")
	}
}

func (m method) writeRefusal(g *protogen.GeneratedFile, text string) {
	none := "nil, "
	if m.oneWay {
		none = ""
	}
	g.P("return ", none, ident(g, grainPackage, "Errorf"), "(", ident(g, grainPackage, "Unimplemented"), ", ", quote(text), ")")
}

// signature is all of the method's Go type but its name.
func (m method) signature(g *protogen.GeneratedFile, ctx, req string) string {
	in := fmt.Sprintf("(%s %s, %s *%s)", ctx, ident(g, contextPackage, "Context"), req, g.QualifiedGoIdent(m.Input.GoIdent))
	if m.oneWay {
		return in + " error"
	}
	return in + " (*" + g.QualifiedGoIdent(m.Output.GoIdent) + ", error)"
}

func (s service) deprecated() bool {
	o, ok := s.Desc.Options().(*descriptorpb.ServiceOptions)
	return ok && o.GetDeprecated()
}

func (m method) deprecated() bool {
	o, ok := m.Desc.Options().(*descriptorpb.MethodOptions)
	return ok && o.GetDeprecated()
}

// comment writes lead, the comment of the .proto file, and a deprecation, each a paragraph.
func comment(g *protogen.GeneratedFile, lead string, c protogen.Comments, deprecated bool) {
	var paragraphs []string
	if lead != "" {
		paragraphs = append(paragraphs, "// "+lead)
	}
	if text := strings.TrimSuffix(c.String(), "\n"); text != "" {
		paragraphs = append(paragraphs, text)
	}
	if deprecated {
		paragraphs = append(paragraphs, "// Deprecated: the .proto file marks it so.")
	}
	if len(paragraphs) > 0 {
		g.P(strings.Join(paragraphs, "\n//\n"))
	}
}

func ident(g *protogen.GeneratedFile, path protogen.GoImportPath, name string) string {
	return g.QualifiedGoIdent(path.Ident(name))
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// duration is d in Go, in the largest unit that holds it.
func duration(g *protogen.GeneratedFile, d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{
		{time.Hour, "Hour"}, {time.Minute, "Minute"}, {time.Second, "Second"},
		{time.Millisecond, "Millisecond"}, {time.Microsecond, "Microsecond"},
	} {
		if d%unit.of == 0 {
			return fmt.Sprintf("%d * %s", d/unit.of, ident(g, timePackage, unit.name))
		}
	}
	return fmt.Sprintf("%d * %s", d, ident(g, timePackage, "Nanosecond"))
}
