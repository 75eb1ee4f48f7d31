package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// block is one fenced block of a Markdown file.
type block struct {
	file string
	line int
	lang string
	text string
}

// checkDocs holds every block of the docs against the project: a Go block that is a whole file is
// compiled, and run if it is a program; any other Go block must stand word for word in a compiled Go
// file; a shell command is run, or stands in tools/not_run.txt with the reason. Every block says what
// it is, so that none escapes (checkSample). Steps are those of make test.
func checkDocs(ctx context.Context, w *workspace, steps []string) error {
	blocks, err := docBlocks(w)
	if err != nil {
		return err
	}
	source, err := allSource(w)
	if err != nil {
		return err
	}
	notRun, err := readNotRun(w)
	if err != nil {
		return err
	}
	notChecked, err := readNotChecked(w)
	if err != nil {
		return err
	}
	var bad findings
	ran, excused := map[string]bool{}, map[string]bool{}
	for _, b := range blocks {
		lang, _, _ := strings.Cut(b.lang, " ")
		switch lang {
		case "go":
			if err := checkGo(ctx, w, b, source); err != nil {
				bad.addf("%s:%d: %v", b.file, b.line, err)
			}
		case "sh", "console":
			for _, command := range shellCommands(b.text) {
				if notRun[command] {
					excused[command] = true
				} else if !ran[command] {
					ran[command] = true
					if err := runCommand(ctx, w, command); err != nil {
						bad.addf("%s:%d: %v", b.file, b.line, err)
					}
				}
			}
		case "text", "proto", "json":
			if notChecked[b.naming()] {
				excused[b.naming()] = true
			} else if err := checkSample(ctx, w, b, steps); err != nil {
				bad.addf("%s:%d: %v", b.file, b.line, err)
			}
		default:
			bad.addf("%s:%d: a block of %q: say go, sh, console, proto, json or text, and end it", b.file, b.line, b.lang)
		}
	}
	for command := range notRun {
		if !excused[command] {
			bad.addf("tools/not_run.txt: no document has %q", command)
		}
	}
	for name := range notChecked {
		if !excused[name] {
			bad.addf("tools/not_checked.txt: no document has %q", name)
		}
	}
	brokenLinks(w, &bad)
	return bad.err()
}

// commandLimit is how long one command of the docs may take; a longer one belongs into not_run.txt.
const commandLimit = 2 * time.Minute

func runCommand(ctx context.Context, w *workspace, command string) error {
	limited, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	_, err := w.combined(limited, ".", nil, "sh", "-c", command)
	if limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%q runs for more than %v: put it into tools/not_run.txt with the reason", command, commandLimit)
	}
	return err
}

// docFiles lists the Markdown files of the project.
func docFiles(w *workspace) ([]string, error) {
	var files []string
	err := filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || path != w.root && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

func docBlocks(w *workspace) ([]block, error) {
	files, err := docFiles(w)
	if err != nil {
		return nil, err
	}
	var blocks []block
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(w.root, f)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, fences(rel, string(text))...)
	}
	return blocks, nil
}

// fences cuts the fenced blocks out of one Markdown text.
func fences(file, text string) []block {
	var blocks []block
	var open *block
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case open == nil && (strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~")):
			open = &block{file: file, line: i + 1, lang: strings.TrimSpace(strings.TrimPrefix(trimmed, "```"))}
		case open != nil && trimmed == "```":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		blocks = append(blocks, block{file, open.line, "unclosed " + open.lang, open.text})
	}
	return blocks
}

func checkGo(ctx context.Context, w *workspace, b block, source string) error {
	if n := strings.Count(b.text, "\n"); b.file == "README.md" && n > exampleLimit {
		return fmt.Errorf("an example of %d lines, the most is %d", n, exampleLimit)
	}
	if !strings.HasPrefix(strings.TrimSpace(b.text), "package ") && !strings.Contains(b.text, "\npackage ") {
		if strings.Contains(source, squeeze(b.text)) {
			return nil
		}
		return fmt.Errorf("this Go block stands in no compiled file of the project:\n%s", b.text)
	}
	dir, err := os.MkdirTemp("", "granary-docs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "main.go")
	if err := os.WriteFile(name, []byte(b.text), 0o644); err != nil {
		return err
	}
	if _, err = w.combined(ctx, ".", nil, "go", "vet", name); err != nil || !strings.Contains(b.text, "func main()") {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := w.combined(ctx, ".", nil, "go", "run", name)
	if err != nil {
		return err
	}
	return printsWhatItSays(b.text, out)
}

var printed = regexp.MustCompile(`(?m)^\s*fmt\.Print.*\) // (.*)$`)

// printsWhatItSays wants each comment behind a print to be a line of what the program printed.
func printsWhatItSays(program, out string) error {
	for _, m := range printed.FindAllStringSubmatch(program, -1) {
		if !slices.Contains(strings.Split(out, "\n"), m[1]) {
			return fmt.Errorf("the program does not print %q, but\n%s", m[1], out)
		}
	}
	return nil
}

// squeeze makes white space uniform, so that a block may be indented less than its source.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func allSource(w *workspace) (string, error) {
	var all strings.Builder
	for _, m := range w.modules {
		err := filepath.WalkDir(w.path(m), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir // not compiled
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.WriteString(squeeze(string(text)) + "\n")
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

// shellCommands are the lines of a shell block: prompts are cut, comments and output left out.
func shellCommands(text string) []string {
	prompted := strings.Contains("\n"+text, "\n$ ")
	var commands []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if prompted {
			command, found := strings.CutPrefix(line, "$ ")
			if !found {
				continue
			}
			line = command
		}
		line, _, _ = strings.Cut(line, " #")
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") && !slices.Contains(commands, line) {
			commands = append(commands, line)
		}
	}
	return commands
}

// readNotRun reads tools/not_run.txt: a command, a tab, and the reason why the docs check does not
// run it.
func readNotRun(w *workspace) (map[string]bool, error) { return readReasons(w, "not_run.txt") }

// readReasons reads a list of names, each with a reason after a tab.
func readReasons(w *workspace, list string) (map[string]bool, error) {
	text, err := os.ReadFile(w.path("tools", list))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, found := strings.Cut(line, "\t")
		if !found || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("tools/%s: %q has no reason after a tab", list, line)
		}
		names[strings.TrimSpace(name)] = true
	}
	return names, nil
}
