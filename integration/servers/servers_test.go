package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
)

// holderVariable makes the test binary a process that starts servers and waits to be killed.
const holderVariable = "GRANARY_SERVERS_HOLDER"

func TestMain(m *testing.M) {
	if os.Getenv(holderVariable) != "" {
		holdServers()
		return
	}
	leaktest.Main(m)
}

// missing ends a test whose server is not here; under make test that is a failure.
func missing(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrMissing) && os.Getenv("GRANARY_SERVERS") != "required":
		t.Skipf("NOT TESTED: %v", err)
	default:
		t.Fatal(err)
	}
}

// runs reports whether a process runs. One that has ended and waits to be collected does not.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, found := strings.Cut(string(stat), ") ")
	return !found || !strings.HasPrefix(state, "Z")
}

func port(t *testing.T, addr string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	must(t, err)
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// holdServers starts one server of each kind, tells their processes, and waits for its death.
func holdServers() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := StartConsul(ctx, ConsulConfig{Dir: os.Getenv(holderVariable)})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := StartRedis(ctx, RedisConfig{Dir: os.Getenv(holderVariable)})
	if err != nil {
		fmt.Println(err, c.Stop())
		return
	}
	fmt.Println("pids", c.p.cmd.Process.Pid, r.p.cmd.Process.Pid)
	select {}
}

// A process that is killed takes its servers with it.
func TestKilledHolder(t *testing.T) {
	t.Parallel()
	_, err := FindConsul()
	missing(t, err)
	_, err = FindRedis()
	missing(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderVariable+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, errors.Join(err, cmd.Process.Kill()))
	_ = cmd.Wait() // it was killed
	var pids [2]int
	if _, err := fmt.Sscanf(line, "pids %d %d", &pids[0], &pids[1]); err != nil {
		t.Fatalf("the process that starts servers says %q", line)
	}
	for _, pid := range pids {
		limit := time.Now().Add(time.Minute)
		for runs(pid) && time.Now().Before(limit) {
			time.Sleep(time.Millisecond)
		}
		if runs(pid) {
			t.Errorf("process %d is left running", pid)
		}
	}
}

// Ports that are free are no port of somebody else's, and none of those that the system gives away.
func TestFreePorts(t *testing.T) {
	t.Parallel()
	ports, err := FreePorts(50)
	must(t, err)
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] || p < firstPort || p >= endPort {
			t.Errorf("port %d: twice %v", p, seen[p])
		}
		seen[p] = true
		release, err := hold(p)
		if err != nil {
			continue // a server of another test has it by now
		}
		if _, err := hold(p); err == nil {
			t.Errorf("port %d was held twice", p)
		}
		release()
	}
	if given, err := givenPorts(3); err != nil || len(given) != 3 || given[0] == given[1] {
		t.Errorf("ports of the system: %v, %v", given, err)
	}
}
