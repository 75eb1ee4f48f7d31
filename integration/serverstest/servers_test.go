package serverstest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/integration/servers"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// heard is a test that notes how it was ended.
type heard struct {
	testing.TB
	how string
}

func (h *heard) Skipf(format string, args ...any) {
	h.how = "skipped: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (h *heard) Fatal(args ...any) {
	h.how = "failed: " + fmt.Sprint(args...)
	runtime.Goexit()
}

// A missing server skips a test and says what gets it; where servers are required it fails. A server that is
// there and does not start fails it in any case.
func TestMissingServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("GRANARY_REDIS", "")
	t.Setenv("GRANARY_CONSUL", "")
	kinds := map[string]func(testing.TB){
		"redis":          func(tb testing.TB) { Redis(tb, servers.RedisConfig{}) },
		"redis cluster":  func(tb testing.TB) { RedisCluster(tb, 3) },
		"redis sentinel": func(tb testing.TB) { RedisSentinel(tb) },
		"consul":         func(tb testing.TB) { Consul(tb, servers.ConsulConfig{}) },
	}
	for name, start := range kinds {
		for required, want := range map[string]string{"": "skipped", "required": "failed"} {
			t.Run(name+" "+want, func(t *testing.T) {
				t.Setenv(Required, required)
				if how := ended(t, start); !strings.HasPrefix(how, want) || !strings.Contains(how, "make "+strings.Fields(name)[0]) {
					t.Errorf("the test %q; want %s with the command that gets the server", how, want)
				}
			})
		}
	}
	broken := t.TempDir()
	if err := os.WriteFile(broken+"/redis-server", []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GRANARY_REDIS", broken)
	if how := ended(t, kinds["redis"]); !strings.HasPrefix(how, "failed") {
		t.Errorf("with a server that does not start the test %q", how)
	}
}

// ended runs a test until it ends itself.
func ended(t *testing.T, test func(testing.TB)) string {
	h := &heard{TB: t}
	over := make(chan struct{})
	go func() {
		defer close(over)
		test(h)
	}()
	<-over
	return h.how
}

// What is started serves.
func TestServers(t *testing.T) {
	if r := Redis(t, servers.RedisConfig{}); r.Addr == "" {
		t.Error("no address")
	}
	if c := Consul(t, servers.ConsulConfig{}); c.URL != "http://"+c.Addr {
		t.Errorf("the API of %s is %s", c.Addr, c.URL)
	}
}
