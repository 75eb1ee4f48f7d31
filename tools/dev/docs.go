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
// compiled, any other Go block must stand word for word in a compiled Go file; a shell command is
// run, or stands in tools/not_run.txt with the reason.
func checkDocs(ctx context.Context, w *workspace) error {
	blocks, err := docBlocks(w)
	if err != nil {
		return err
	}
	var bad findings
	source, err := allSource(w)
	if err != nil {
		return err
	}
	notRun, err := readNotRun(w)
	if err != nil {
		return err
	}
	ran := map[string]bool{}
	for _, b := range blocks {
		switch b.lang {
		case "go":
			if err := checkGo(ctx, w, b, source); err != nil {
				bad.addf("%s:%d: %v", b.file, b.line, err)
			}
		case "sh", "bash", "shell", "console":
			for _, command := range shellCommands(b.text) {
				if ran[command] || notRun[command] {
					continue
				}
				ran[command] = true
				if err := runCommand(ctx, w, command); err != nil {
					bad.addf("%s:%d: %v", b.file, b.line, err)
				}
			}
		}
	}
	brokenLinks(w, &bad)
	if len(bad) > 0 {
		return fmt.Errorf("%s", strings.Join(bad, "\n"))
	}
	return nil
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
		case open == nil && strings.HasPrefix(trimmed, "```"):
			open = &block{file: file, line: i + 1, lang: strings.TrimPrefix(trimmed, "```")}
		case open != nil && trimmed == "```":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return blocks
}

func checkGo(ctx context.Context, w *workspace, b block, source string) error {
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
	_, err = w.combined(ctx, ".", nil, "go", "vet", name)
	return err
}

// squeeze makes white space uniform, so that a block may be indented less than its source.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func allSource(w *workspace) (string, error) {
	var all strings.Builder
	for _, m := range w.modules {
		err := filepath.WalkDir(w.path(m), func(path string, d os.DirEntry, err error) error {
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
func readNotRun(w *workspace) (map[string]bool, error) {
	text, err := os.ReadFile(w.path("tools", "not_run.txt"))
	if err != nil {
		return nil, err
	}
	commands := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		command, reason, found := strings.Cut(line, "\t")
		if !found || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("tools/not_run.txt: %q has no reason after a tab", line)
		}
		commands[strings.TrimSpace(command)] = true
	}
	return commands, nil
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)

// brokenLinks finds relative links to files that do not exist.
func brokenLinks(w *workspace, bad *findings) {
	files, err := docFiles(w)
	if err != nil {
		bad.addf("%v", err)
		return
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			bad.addf("%v", err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), m[1])); err != nil {
				rel, _ := filepath.Rel(w.root, f)
				bad.addf("%s: link to %s leads nowhere", rel, m[1])
			}
		}
	}
}
