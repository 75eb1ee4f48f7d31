package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// goMod is what go mod edit -json prints, as far as it is read here.
type goMod struct {
	Go        string
	Toolchain string
	Require   []struct {
		Path, Version string
		Indirect      bool
	}
}

func (w *workspace) goMod(module string) (goMod, error) {
	var mod goMod
	out, err := w.output(module, outsideWork, "go", "mod", "edit", "-json")
	if err != nil {
		return mod, err
	}
	return mod, json.Unmarshal(out, &mod)
}

// sameVersions checks that all modules require one version of every shared dependency, and that no go
// line has crept up. Modules outside of go.work are held to it too, but for peers and servers, whose
// dependencies are their own.
func sameVersions(w *workspace) error {
	type use struct{ version, module string }
	first := map[string]use{}
	var bad []string
	for _, m := range slices.Concat(w.modules, w.outside) {
		if strings.Contains(filepath.ToSlash(m), "/peers/") || m == consulModule {
			continue
		}
		mod, err := w.goMod(m)
		if err != nil {
			return err
		}
		if mod.Go != "1.26.0" || mod.Toolchain != "" {
			bad = append(bad, fmt.Sprintf("%s/go.mod: want \"go 1.26.0\" and no toolchain line, have go %s %s", m, mod.Go, mod.Toolchain))
		}
		for _, r := range mod.Require {
			known, seen := first[r.Path]
			if !seen {
				first[r.Path] = use{r.Version, m}
			} else if known.version != r.Version {
				bad = append(bad, fmt.Sprintf("%s: %s in %s, %s in %s", r.Path, known.version, known.module, r.Version, m))
			}
		}
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return fmt.Errorf("versions differ:\n%s", strings.Join(bad, "\n"))
	}
	return nil
}
