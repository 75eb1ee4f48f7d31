package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const goldenName = "golden.txt"

var (
	errAccepted = errors.New("wire accepts an injector that must be refused")
	errGolden   = errors.New("wire's text is not the golden one")
	errNoCases  = errors.New("no faulty injectors")

	// position is a line and a column in a file of the workspace, which moves with every edit.
	position = regexp.MustCompile(`(ROOT/[^\s:()]+):\d+:\d+`)
)

// checkErrors runs wire over every faulty injector below cases and compares its complaint with the
// golden text beside it.
func checkErrors(ctx context.Context, out io.Writer, w *workspace, bin, cases string, update bool) error {
	names, err := casesIn(cases)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: %w", cases, errNoCases)
	}
	s, err := newScratch(w, bin, cases)
	if err != nil {
		return err
	}
	defer s.close()
	code, _, stderr, err := s.tool.run(ctx, "gen", s.dir, s.folders(names))
	if err != nil {
		return err
	}
	if code == 0 {
		return fmt.Errorf("faulty injectors %q: %w", names, errAccepted)
	}
	complaints := splitComplaints(stderr)
	if len(complaints) == 0 { // it could not even read the cases
		return fmt.Errorf("faulty injectors %q: %w:\n%s", names, errWire, stderr)
	}
	var wrong []error
	for _, name := range names {
		text, refused := complaints[name]
		err := errAccepted
		if refused {
			text = normalise(text, map[string]string{filepath.Join(s.dir, name): "CASE", w.root: "ROOT"})
			err = matchGolden(filepath.Join(cases, name, goldenName), text, update)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("faulty injector %s: %w", name, err))
		}
	}
	if len(wrong) == 0 {
		fmt.Fprintf(out, "wire: %d faulty injectors are refused with the golden text\n", len(names))
	}
	return errors.Join(wrong...)
}

// wroteLine is what wire prints about a case that it does not refuse.
var wroteLine = regexp.MustCompile(`(?m)^wire: \S+: wrote .*\n`)

// complaintEnd is the line that ends what wire says about one case.
var complaintEnd = regexp.MustCompile(`(?m)^wire: ` + regexp.QuoteMeta(scratchModule) + `/(\S+): generate failed\n`)

// splitComplaints cuts what wire prints into one text a case that it refused.
func splitComplaints(stderr string) map[string]string {
	stderr = wroteLine.ReplaceAllString(stderr, "")
	texts := make(map[string]string)
	from := 0
	for _, end := range complaintEnd.FindAllStringSubmatchIndex(stderr, -1) {
		texts[stderr[end[2]:end[3]]] = stderr[from:end[1]]
		from = end[1]
	}
	return texts
}

// normalise replaces folders by their names, and drops positions in files of the workspace.
func normalise(text string, folders map[string]string) string {
	for dir, name := range folders {
		for _, form := range forms(dir) {
			text = strings.ReplaceAll(text, form+string(filepath.Separator), name+"/")
		}
	}
	return position.ReplaceAllString(text, "$1")
}

// forms are the ways in which a tool may write dir: as given, and without symbolic links.
func forms(dir string) []string {
	if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir {
		return []string{real, dir}
	}
	return []string{dir}
}

func matchGolden(path, text string, update bool) error {
	if update {
		return os.WriteFile(path, []byte(text), 0o644)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the golden text: %w", err)
	}
	if string(want) != text {
		return fmt.Errorf("%w:\n got %s\nwant %s", errGolden, text, want)
	}
	return nil
}
