package main

import (
	"fmt"
	"slices"
	"strings"
)

// allowed are the direct requirements of each module of the product; siblings and golang.org/x
// may always be required.
var allowed = map[string][]string{
	"core":                 {},
	"protos":               {"google.golang.org/grpc", "google.golang.org/protobuf"},
	"engine":               {"google.golang.org/grpc", "google.golang.org/protobuf", "github.com/google/wire"},
	"lookups/disthash":     {"google.golang.org/protobuf", "github.com/google/wire"},
	"providers/consul":     {"github.com/hashicorp/consul/api", "github.com/google/wire"},
	"providers/memberlist": {"github.com/hashicorp/memberlist", "github.com/google/wire"},
	"providers/redis":      {"github.com/redis/go-redis/v9", "github.com/google/wire"},
	"stores/bbolt":         {"go.etcd.io/bbolt", "github.com/google/wire"},
	"engine/internal/sim":  {},
	"cmd/granary-gen":      {"google.golang.org/protobuf", "github.com/bufbuild/protocompile"},
}

// engineModules is how many third-party modules a program that imports the whole engine compiles.
const engineModules = 8

func checkDependencies(w *workspace, say func(string, ...any), bad *findings) {
	checkRequirements(w, say, bad)
	checkReach(w, bad)
	n, err := compiledModules(w)
	if err != nil {
		bad.addf("%v", err)
		return
	}
	say("modules compiled by engine %d", n)
	if n > engineModules {
		bad.addf("engine compiles %d third-party modules, the most is %d", n, engineModules)
	}
}

// checkRequirements holds each go.mod to its budget.
func checkRequirements(w *workspace, say func(string, ...any), bad *findings) {
	for _, m := range w.modules {
		list, known := allowed[m]
		mod, err := w.goMod(m)
		switch {
		case err != nil:
			bad.addf("%v", err)
			continue
		case m == "examples", m == integration: // an application chooses what it needs, and tests know all
			continue
		case !known:
			bad.addf("%s has no budget of direct requirements", m)
		}
		direct := 0
		for _, r := range mod.Require {
			sibling := strings.HasPrefix(r.Path, prefix)
			switch {
			case m == "core":
				bad.addf("core/go.mod requires %s; core requires nothing", r.Path)
			case r.Indirect || sibling:
				continue
			case !slices.Contains(list, r.Path) && !strings.HasPrefix(r.Path, "golang.org/x/"):
				bad.addf("%s/go.mod requires %s, which is not in its budget", m, r.Path)
			}
			direct++
		}
		say("direct requirements        %d  %s", direct, m)
	}
}

func compiledModules(w *workspace) (int, error) {
	out, err := w.output("engine", outsideWork, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./...")
	if err != nil {
		return 0, fmt.Errorf("list what engine compiles: %w", err)
	}
	seen := map[string]bool{}
	for _, path := range strings.Fields(string(out)) {
		if !strings.HasPrefix(path, prefix) {
			seen[path] = true
		}
	}
	return len(seen), nil
}

// reach is what packages must not come to by any way: rules of the architecture that an import of
// an import could break unseen.
var reach = []struct{ module, packages, to string }{
	{"engine", "./actor", "google.golang.org/"},
	{"engine", "./actor", prefix + "protos"},
	{"engine", "./grain", prefix + "engine/remote"},
	{"engine", "./grain", prefix + "engine/cluster"},
	{"engine", "./remote", prefix + "engine/grain"},
	{"lookups/disthash", "./...", prefix + "engine"},
	{"providers/consul", "./...", prefix + "engine"},
	{"providers/consul", "./...", prefix + "protos"},
	{"providers/memberlist", "./...", prefix + "engine"},
	{"providers/memberlist", "./...", prefix + "protos"},
	{"providers/redis", "./...", prefix + "engine"},
	{"providers/redis", "./...", prefix + "protos"},
	{"stores/bbolt", "./...", prefix + "engine"},
	{"stores/bbolt", "./...", prefix + "protos"},
}

func checkReach(w *workspace, bad *findings) {
	for _, r := range reach {
		out, err := w.output(r.module, outsideWork, "go", "list", "-deps", r.packages)
		if err != nil {
			bad.addf("%v", err)
			continue
		}
		for _, path := range strings.Fields(string(out)) {
			if strings.HasPrefix(path, r.to) {
				bad.addf("%s %s reaches %s", r.module, r.packages, path)
				break
			}
		}
	}
}
