package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/granary-go/granary/bench/kit"
)

// TestMain lets the test binary be the program: its rows and their child processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "-row" || os.Args[1] == "-role") {
		kit.Main(subject{})
	}
	os.Exit(m.Run())
}

// TestEveryRowFinishes runs each row with a little work.
func TestEveryRowFinishes(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range kit.Rows() {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			n := "1000"
			if row.Name == "grainkill" {
				n = "60"
			}
			text, err := exec.CommandContext(t.Context(), self, "-row", row.Name, "-n", n).Output()
			if err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			var res kit.Result
			if err := json.Unmarshal(text, &res); err != nil {
				t.Fatal(err)
			}
			if err := res.Check(row.Name); err != nil {
				t.Error(err)
			}
		})
	}
}
