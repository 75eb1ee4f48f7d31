package deployments

import (
	"bufio"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	"consul":   {"github.com/granary-go/granary/providers/consul", "github.com/hashicorp/consul/api"},
	"redis":    {"github.com/granary-go/granary/providers/redis", "github.com/redis/go-redis/v9"},
}

// TestDeployments builds each deployment once, looks what it links, and runs it.
func TestDeployments(t *testing.T) {
	t.Parallel()
	for name := range picked {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), name)
			if out, err := exec.Command("go", "build", "-o", program, "./"+name).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Run("links", func(t *testing.T) { linksOnlyWhatItPicked(t, name, program) })
			t.Run("runs", func(t *testing.T) { membersMeet(t, name, program) })
		})
	}
}

// linksOnlyWhatItPicked holds what go version -m says of a program against what the deployments pick.
func linksOnlyWhatItPicked(t *testing.T, name, program string) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for _, d := range info.Deps {
		linked[d.Path] = true
		if strings.HasSuffix(d.Path, "/integration") {
			t.Errorf("the program has %s, which is for tests", d.Path)
		}
	}
	for of, modules := range picked {
		for _, m := range modules {
			if linked[m] != (of == name) {
				t.Errorf("%s in the program: %v; %s picks it", m, linked[m], of)
			}
		}
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

// meeting are the flags by which a first and a second member of a deployment meet.
var meeting = map[string]func(t *testing.T) (first, second []string){
	"embedded": func(t *testing.T) (first, second []string) {
		ports, err := servers.FreePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		gossip := fmt.Sprint("127.0.0.1:", ports[0])
		return []string{"-bind", gossip}, []string{"-seed", gossip}
	},
	"consul": func(t *testing.T) (first, second []string) {
		at := []string{"-consul", serverstest.Consul(t, servers.ConsulConfig{}).URL}
		return at, at
	},
	"redis": func(t *testing.T) (first, second []string) {
		at := []string{"-redis", serverstest.Redis(t, servers.RedisConfig{}).Addr}
		return at, at
	},
}

// membersMeet has a member serve, and a second one join it, call what lives there, and leave.
func membersMeet(t *testing.T, name, program string) {
	first, second := meeting[name](t)
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
