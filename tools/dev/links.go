package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	link    = regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*?) *$`)
)

// brokenLinks finds relative links to files, and to headings in them, that do not exist.
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
		rel, err := filepath.Rel(w.root, f)
		if err != nil {
			rel = f
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			if !leadsSomewhere(f, m[1], m[2]) {
				bad.addf("%s: link to %s leads nowhere", rel, strings.Trim(m[0], "]()"))
			}
		}
	}
}

// leadsSomewhere reports whether a link in file, to a path and maybe a heading there, has a target.
func leadsSomewhere(file, path, anchor string) bool {
	target := file
	if path != "" {
		target = filepath.Join(filepath.Dir(file), filepath.FromSlash(path))
	}
	if anchor == "" {
		_, err := os.Stat(target)
		return err == nil
	}
	text, err := os.ReadFile(target)
	if err != nil {
		return false
	}
	for _, h := range heading.FindAllStringSubmatch(string(text), -1) {
		if slug(h[1]) == anchor {
			return true
		}
	}
	return false
}

// slug is the anchor that GitHub gives a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
