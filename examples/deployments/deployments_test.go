// Package deployments tests that each deployment links what it picked, and runs.
package deployments

import (
	"bufio"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// picked are the modules that a deployment links for its choice, and no other deployment has.
var picked = map[string][]string{
	"embedded": {"github.com/granary-go/granary/providers/memberlist", "github.com/hashicorp/memberlist"},
	"redis":    {"github.com/granary-go/granary/providers/redis", "github.com/redis/go-redis/v9"},
}

// build builds the program of a deployment.
func build(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", program, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// Each binary has what it picked and nothing of the others' choices, as go version -m says.
func TestLinksOnlyWhatItPicked(t *testing.T) {
	t.Parallel()
	for name := range picked {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, err := buildinfo.ReadFile(build(t, name))
			if err != nil {
				t.Fatal(err)
			}
			var modules []string
			for _, d := range info.Deps {
				modules = append(modules, d.Path)
			}
			for of, list := range picked {
				for _, m := range list {
					if slices.Contains(modules, m) != (of == name) {
						t.Errorf("%s in the binary: %v; it is what %s picks", m, of != name, of)
					}
				}
			}
			for _, m := range modules {
				if strings.HasSuffix(m, "/integration") || strings.HasPrefix(m, "github.com/hashicorp/consul") && name != "consul" {
					t.Errorf("the binary has %s", m)
				}
			}
		})
	}
}

// Another provider is another line of wire.go, and its import.
func TestSwapIsOneLine(t *testing.T) {
	lines := map[string][]string{}
	for name := range picked {
		text, err := os.ReadFile(filepath.Join(name, "wire.go"))
		if err != nil {
			t.Fatal(err)
		}
		lines[name] = strings.Split(string(text), "\n")
	}
	for name, own := range lines {
		differ, want := 0, 1
		if name == "embedded" {
			want = 0
		}
		for i, line := range own {
			if i < len(lines["embedded"]) && line != lines["embedded"][i] && !strings.Contains(line, prefix) {
				differ++
			}
		}
		if len(own) != len(lines["embedded"]) || differ != want {
			t.Errorf("%s/wire.go differs in %d lines", name, differ)
		}
	}
}

const prefix = `"github.com/granary-go/granary/providers/`

// A member serves, a second one joins it and calls what lives there, and both leave in order.
func TestDeployments(t *testing.T) {
	t.Parallel()
	members := map[string]func(t *testing.T) (first, second []string){
		"embedded": func(t *testing.T) (first, second []string) {
			ports, err := servers.FreePorts(1)
			if err != nil {
				t.Fatal(err)
			}
			gossip := fmt.Sprint("127.0.0.1:", ports[0])
			return []string{"-bind", gossip}, []string{"-seed", gossip}
		},
		"redis": func(t *testing.T) (first, second []string) {
			at := []string{"-redis", serverstest.Redis(t, servers.RedisConfig{}).Addr}
			return at, at
		},
	}
	for name := range picked {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := members[name](t)
			program := build(t, name)
			one := start(t, program, first...)
			two := exec.Command(program, append(second, "-customer", "alice")...)
			text, err := two.Output()
			if want := "ready, of 2 members\nadded tea: 1 different\nadded milk: 2 different\nin the cart: map[milk:1 tea:1]\n"; err != nil || string(text) != want {
				t.Errorf("the second member says %q, %v", text, err)
			}
			if err := one.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			killed := time.AfterFunc(time.Minute, func() { _ = one.Process.Kill() }) // the test fails by it
			defer killed.Stop()
			if err := one.Wait(); err != nil {
				t.Errorf("the first member ends with %v", err)
			}
		})
	}
}

// start starts the first member, and returns once it is ready.
func start(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	one := exec.Command(program, args...)
	out, err := one.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = one.Process.Kill() }) // it has ended by itself, as a rule
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready, of 1 members\n" {
		t.Fatalf("the first member says %q, %v", line, err)
	}
	return one
}
