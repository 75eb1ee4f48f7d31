package pinned_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/granary-go/granary/tools/internal/pinned"
)

const (
	tools = "../.." // the folder of the module
	wire  = "github.com/google/wire/cmd/wire"
)

func TestVersionIsTheOneOfGoMod(t *testing.T) {
	got, err := pinned.Version(t.Context(), tools, wire)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(tools + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "github.com/google/wire "+got+" ") {
		t.Errorf("version = %q, which go.mod does not hold", got)
	}
}

func TestBuildOutsideTheClone(t *testing.T) {
	t.Setenv("GOCACHE", goEnv(t, "GOCACHE")) // before the next line moves it: only the binary is to be new
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	first, err := pinned.Build(t.Context(), tools, wire)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pinned.Build(t.Context(), tools, wire)
	if err != nil || again != first {
		t.Fatalf("second build = %q, %v, want %q", again, err, first)
	}
	after, err := os.Stat(again)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the second call built again (%v)", err)
	}
	if version, _ := pinned.Version(t.Context(), tools, wire); !strings.Contains(first, version) {
		t.Errorf("%q does not hold the version %q", first, version)
	}
	if left, _ := os.ReadDir(strings.TrimSuffix(first, "/wire")); len(left) != 1 {
		t.Errorf("the folder of the binary holds %v", left)
	}
}

func TestUnknownTool(t *testing.T) {
	for _, pkg := range []string{"example.test/none/cmd/none", "fmt"} {
		if bin, err := pinned.Build(t.Context(), tools, pkg); err == nil || !strings.Contains(err.Error(), pkg) {
			t.Errorf("Build(%q) = %q, %v, want an error that names it", pkg, bin, err)
		}
	}
	if _, err := pinned.Version(t.Context(), t.TempDir(), wire); !isExit(err) {
		t.Errorf("outside a module: %v, want the go command's failure", err)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func isExit(err error) bool {
	_, ok := errors.AsType[*exec.ExitError](err)
	return ok
}
