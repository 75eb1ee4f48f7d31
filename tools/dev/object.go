package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// shape is the contract of a JSON object: its keys, and the type of each value: integer, number, bool,
// text, integers, texts; "?" behind it: or null.
type shape map[string]string

// readShape reads a list of lines "key type".
func readShape(name string) (shape, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	s := shape{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, typ, _ := strings.Cut(line, " ")
		if _, known := isOfType[strings.TrimSuffix(typ, "?")]; !known || s[key] != "" {
			return nil, fmt.Errorf("%s: %q is no type, or the key was there before", name, line)
		}
		s[key] = typ
	}
	return s, nil
}

var isOfType = map[string]func(any) bool{
	"integer":  isInteger,
	"number":   func(v any) bool { _, ok := v.(float64); return ok },
	"bool":     func(v any) bool { _, ok := v.(bool); return ok },
	"text":     isText,
	"integers": func(v any) bool { return each(v, isInteger) },
	"texts":    func(v any) bool { return each(v, isText) },
}

func isInteger(v any) bool {
	f, ok := v.(float64)
	return ok && f == float64(int64(f))
}

func isText(v any) bool { _, ok := v.(string); return ok }

func each(v any, is func(any) bool) bool {
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(v any) bool { return !is(v) })
}

// check holds an object against its shape: just those keys, and values of their types.
func (s shape) check(line string) (map[string]any, error) {
	var object map[string]any
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	var bad findings
	for _, key := range slices.Sorted(maps.Keys(s)) {
		v, there := object[key]
		typ, optional := strings.CutSuffix(s[key], "?")
		switch {
		case !there:
			bad.addf("the object has no %q", key)
		case v == nil && optional:
		case !isOfType[typ](v):
			bad.addf("%s is %v, want %s", key, v, s[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if s[key] == "" {
			bad.addf("%q is not in the contract", key)
		}
	}
	return object, bad.err()
}

// tookPlace wants a time for each change that took place, and null for each that did not.
func tookPlace(object map[string]any) error {
	var bad findings
	happened := func(key string) bool { n, _ := object[key].(float64); return n > 0 }
	for key, took := range map[string]bool{
		"formSeconds":      happened("members"),
		"detectSeconds":    happened("kills"),
		"recoverySeconds":  happened("kills"),
		"rebalanceSeconds": happened("joins") || happened("restarts"),
	} {
		if (object[key] != nil) != took {
			bad.addf("%s is %v; took place: %v", key, object[key], took)
		}
	}
	slices.Sort(bad)
	return bad.err()
}
