package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// object is a whole one of the demonstration, changed.
func object(t *testing.T, change func(map[string]any)) string {
	t.Helper()
	o := map[string]any{}
	for _, key := range strings.Fields(`seed level callers identities loadSeconds restarts calls replied failed failedNotDelivered
		failedDelivered failedUnknown untyped late failedAfterRecovery executedTwice activations moved overlaps duplicateActivations
		callsPerSecond p50Micros p99Micros p999Micros maxMicros processesLeft refusedButRun answeredNotRun`) {
		o[key] = 0
	}
	for _, key := range strings.Fields("formSeconds detectSeconds recoverySeconds rebalanceSeconds") {
		o[key] = 0.5
	}
	o["schema"], o["ok"], o["reasons"], o["interrupted"] = 1, true, []string{}, false
	o["provider"], o["lookup"], o["members"], o["kills"], o["joins"] = "memberlist", "disthash", 3, 1, 1
	o["identitiesChecked"], o["callsInRestarts"] = []int{10000, 10000, 10000}, []int{}
	change(o)
	line, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(line) + "\n"
}

// The object of the demonstration has the keys of the contract, with values of their types, null for what
// did not take place, and stands alone.
func TestJudgeExample(t *testing.T) {
	contract, err := readShape("testdata/example_cluster.txt")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(map[string]any){
		"":                                                func(map[string]any) {},
		"the object has no \"late\"":                      func(o map[string]any) { delete(o, "late") },
		"the object has no \"overlaps\"":                  func(o map[string]any) { o["Overlaps"] = o["overlaps"]; delete(o, "overlaps") },
		"\"more\" is not in the contract":                 func(o map[string]any) { o["more"] = 1 },
		"calls is 1.5, want integer":                      func(o map[string]any) { o["calls"] = 1.5 },
		"late is <nil>, want integer":                     func(o map[string]any) { o["late"] = nil },
		"reasons is <nil>, want texts":                    func(o map[string]any) { o["reasons"] = nil },
		"identitiesChecked is [x], want integers":         func(o map[string]any) { o["identitiesChecked"] = []string{"x"} },
		"provider is 1, want text":                        func(o map[string]any) { o["provider"] = 1 },
		"interrupted is 0, want bool":                     func(o map[string]any) { o["interrupted"] = 0 },
		"p50Micros is 1, want number":                     func(o map[string]any) { o["p50Micros"] = "1" },
		"detectSeconds is <nil>; took place: true":        func(o map[string]any) { o["detectSeconds"] = nil },
		"ok false, reasons [x], schema 1, 1 killed, 1 jo": func(o map[string]any) { o["ok"], o["reasons"] = false, []string{"x"} },
		"schema 2": func(o map[string]any) { o["schema"] = 2 },
	} {
		err := judgeExample(contract, object(t, change))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, more := range []string{"", "\n", "text\n" + object(t, func(map[string]any) {})} {
		if judgeExample(contract, more) == nil {
			t.Errorf("%q is taken for an object", more)
		}
	}
	if err := tookPlace(map[string]any{"detectSeconds": 1.0}); err == nil || !strings.Contains(err.Error(), "detectSeconds is 1; took place: false") {
		t.Errorf("a time of what did not take place: %v", err)
	}
}

func TestReadShape(t *testing.T) {
	for text, good := range map[string]bool{"# list\na integer\nb number?\n": true, "a whole\n": false, "a\n": false, "a text\na text\n": false} {
		name := filepath.Join(t.TempDir(), "shape.txt")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readShape(name); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
