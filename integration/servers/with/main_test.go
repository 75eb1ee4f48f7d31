package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The command learns where the server is, its exit code is passed on, and the server ends with it.
func TestWith(t *testing.T) {
	_ = serverstest.Redis(t, servers.RedisConfig{}) // says what to do where there is none
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"redis", "sh", "-c", "echo at {}; exit 3"}, &out, &errs); code != 3 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	at, found := strings.CutPrefix(strings.TrimSpace(out.String()), "at ")
	if !found {
		t.Fatalf("the command says %q", out.String())
	}
	if c, err := net.Dial("tcp", at); err == nil {
		_ = c.Close()
		t.Errorf("the server at %s is still there", at)
	}
}

func TestWithWrongUse(t *testing.T) {
	for code, args := range map[int][]string{2: {"etcd", "true"}, 1: {"redis", os.DevNull}} {
		if code == 1 {
			_ = serverstest.Redis(t, servers.RedisConfig{})
		}
		var out, errs strings.Builder
		if got := run(t.Context(), args, &out, &errs); got != code || errs.Len() == 0 {
			t.Errorf("%q: exit %d, %q", args, got, errs.String())
		}
	}
}
