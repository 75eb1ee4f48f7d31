package main

import (
	"slices"
	"strconv"
	"strings"
)

// arrow is a rule of the architecture: packages under from never import those under to. Both are
// prefixes; a from that ends in a slash is a folder with all below it.
type arrow struct{ from, to, why string }

const prefix = "github.com/granary-go/granary/"

var arrows = []arrow{
	{"providers/", prefix + "engine", "plug-ins are testable against a fake host"},
	{"providers/", prefix + "protos", "only lookups talk to each other"},
	{"stores/", prefix + "protos", "only lookups talk to each other"},
	{"stores/", prefix + "engine", "plug-ins know contracts only"},
	{"lookups/", prefix + "engine", "plug-ins are testable against a fake host"},
	{"protos", prefix + "core", "generated code depends on protobuf alone"},
	{"engine/actor", "google.golang.org/", "local actors know no network and no protobuf"},
	{"engine/actor", prefix + "protos", "local actors know no network and no protobuf"},
	{"engine/actor", prefix + "engine/remote", "calls travel down"},
	{"engine/actor", prefix + "engine/grain", "calls travel down"},
	{"engine/actor", prefix + "engine/cluster", "calls travel down"},
	{"engine/remote", prefix + "engine/grain", "calls travel down"},
	{"engine/remote", prefix + "engine/cluster", "calls travel down"},
	{"engine/grain", prefix + "engine/remote", "a grain author sees no network"},
	{"engine/grain", prefix + "engine/cluster", "calls travel down"},
	{"engine/cluster/", prefix + "engine/clustertest", "kits are for tests"},
	{"engine/internal/", prefix + "engine/remote", "shared machinery is below all three"},
	{"engine/internal/", prefix + "engine/grain", "shared machinery is below all three"},
	{"engine/internal/", prefix + "engine/cluster", "shared machinery is below all three"},
}

// checkArrows holds the imports against the rules: arrows, core's standard library, wire in set.go,
// testing in test packages.
func checkArrows(t *tree, say func(string, ...any), bad *findings) {
	checked := 0
	for _, p := range t.packages {
		for _, f := range p.files {
			for _, imp := range f.ast.Imports {
				path, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					continue
				}
				checked++
				if why := forbidden(p, f, path); why != "" {
					bad.addf("%s imports %s: %s", t.position(imp), path, why)
				}
			}
		}
	}
	say("imports held to the arrows %d", checked)
}

func forbidden(p *pkg, f *file, path string) string {
	base := f.path[strings.LastIndexByte(f.path, '/')+1:]
	standard := !strings.Contains(strings.SplitN(path, "/", 2)[0], ".")
	switch {
	case p.module == "core" && !standard && !strings.HasPrefix(path, prefix+"core"):
		return "core imports the standard library only"
	case path == "github.com/google/wire" && base != "set.go" && base != "wire.go":
		return "wire only in set.go and injectors"
	case path == "testing" && !p.isTest():
		return "testing only in _test.go and test packages"
	case strings.HasPrefix(path, "google.golang.org/grpc") && p.module != "protos" && p.dir != "engine/remote":
		return "grpc only below the link seam of engine/remote"
	case path == prefix+"engine/cluster" && !p.isProgram() && p.dir != "engine/clustertest":
		return "only applications hold a node"
	case strings.HasPrefix(path, prefix+"providers/") && !p.isProgram(), strings.HasPrefix(path, prefix+"lookups/") && !p.isProgram():
		return "only applications choose plug-ins"
	}
	i := slices.IndexFunc(arrows, func(a arrow) bool {
		return p.module != simulator && strings.HasPrefix(p.dir+"/", a.from) && strings.HasPrefix(path, a.to)
	})
	if i >= 0 {
		return arrows[i].why
	}
	return ""
}
