package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

// TestMain lets this binary be the program, and its processes.
func TestMain(m *testing.M) {
	if os.Getenv(folderVariable) != "" {
		os.Exit(run(os.Args[1:]))
	}
	leaktest.Main(m)
}

// A member is killed and another joins, under load: every check of the demonstration passes.
func TestDemonstration(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-for", "6s", "-identities", "1000", "-json")
	cmd.Env = append(os.Environ(), folderVariable+"="+t.TempDir())
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var sum struct {
		OK               bool
		Provider, Lookup string
		Kills, Joins     int
	}
	if e := json.Unmarshal([]byte(stdout.String()), &sum); err != nil || e != nil || !sum.OK || sum.Kills != 1 || sum.Joins != 1 ||
		sum.Provider != "files" || sum.Lookup != "directory" {
		t.Errorf("%v, %v\n%s\n%s", err, e, stdout.String(), stderr.String())
	}
}
