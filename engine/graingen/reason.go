package graingen

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// reasonsOf is f's enum ErrorReason; nil if it has none.
func reasonsOf(f *protogen.File) *protogen.Enum {
	for _, e := range f.Enums {
		if e.Desc.Name() == "ErrorReason" {
			return e
		}
	}
	return nil
}

// reasonValues are the reasons of e: all values, but for a zero that says nothing.
func reasonValues(e *protogen.Enum) []*protogen.EnumValue {
	return slices.DeleteFunc(slices.Clone(e.Values), func(v *protogen.EnumValue) bool {
		return v.Desc.Number() == 0 && strings.HasSuffix(string(v.Desc.Name()), "UNSPECIFIED")
	})
}

// reasonName is the Go name of a reason: CART_FULL and ERROR_REASON_CART_FULL are both CartFull.
func reasonName(v *protogen.EnumValue) string {
	var b strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(string(v.Desc.Name()), "ERROR_REASON_"), "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + strings.ToLower(word[1:]))
		}
	}
	return b.String()
}

func writeReasons(g *protogen.GeneratedFile, e *protogen.Enum) {
	for _, v := range reasonValues(e) {
		name, reason := reasonName(v), quote(string(v.Desc.Name()))
		g.P()
		comment(g, "Err"+name+" is an error of reason "+string(v.Desc.Name())+".", v.Comments.Leading, false)
		g.P("func Err", name, "(format string, args ...any) error {")
		g.P("return ", ident(g, grainPackage, "NewReason"), "(", reason, ", format, args...)")
		g.P("}")
		g.P()
		g.P("// Is", name, " reports whether err is of reason ", v.Desc.Name(), ", from this process or another.")
		g.P("func Is", name, "(err error) bool { return ", ident(g, grainPackage, "ReasonOf"), "(err) == ", reason, " }")
	}
}
