package main

import (
	"bufio"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/granary-go/granary/tools/internal/modules"
)

// goLine is what every go.mod says; a higher one would ask it of every user.
const goLine = "1.26.0"

// judge holds the go.mod of a released module against what it must be.
func judge(m *modules.Module, version string) error {
	var bad []error
	say := func(format string, args ...any) { bad = append(bad, fmt.Errorf(m.Dir+"/go.mod "+format, args...)) }
	for _, r := range m.Mod.Replace {
		say("replaces %s: that holds in this checkout alone, and go install refuses it", r.Old.Path)
	}
	if m.Mod.Go == nil || m.Mod.Go.Version != goLine || m.Mod.Toolchain != nil {
		say("asks for another Go than %s", goLine)
	}
	for _, r := range m.Mod.Require {
		if strings.HasPrefix(r.Mod.Path, modules.Prefix) && r.Mod.Version != version {
			say("requires %s at %s, not at %s", r.Mod.Path, r.Mod.Version, version)
		}
	}
	return errors.Join(bad...)
}

// compiledInto reads from a binary which modules are in it, but for the main one and the one it is about, and
// its size in bytes.
func compiledInto(binary, about string) ([]string, int64, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, 0, err
	}
	file, err := os.Stat(binary)
	if err != nil {
		return nil, 0, err
	}
	var compiled []string
	for _, d := range info.Deps {
		if name := strings.TrimPrefix(d.Path, modules.Prefix); name != about {
			compiled = append(compiled, name)
		}
	}
	slices.Sort(compiled)
	return compiled, file.Size(), nil
}

// budgets are by name the modules that may be compiled.
type budgets map[string][]string

// readBudgets reads lines of a name and its modules; those of the project without the prefix.
func readBudgets(name string) (budgets, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	list := budgets{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 0 && words[0] != "#" {
			list[words[0]] = words[1:]
		}
	}
	return list, lines.Err()
}

// check fails where more is compiled than the budget has, and where the budget has more than is needed.
func (b budgets) check(name string, compiled []string) error {
	list, known := b[name]
	if !known {
		return fmt.Errorf("has no line in budgets.txt; it would be: %s %s", name, strings.Join(compiled, " "))
	}
	for _, m := range compiled {
		if !slices.Contains(list, m) {
			return fmt.Errorf("compiles %s, which is not in its budget", m)
		}
	}
	for _, m := range list {
		if !slices.Contains(compiled, m) {
			return fmt.Errorf("compiles %s no more: take it out of its budget", m)
		}
	}
	return nil
}
