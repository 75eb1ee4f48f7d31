package app

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
)

// withServer are the providers that need a server, and how long a recovery may take with each.
var withServer = []struct {
	provider string
	find     func() (string, error)
	bound    float64
}{{"redis", servers.FindRedis, 15}, {"consul", servers.FindConsul, 30}}

// A run at a server that it starts itself goes as one without: a kill, a recovery, a join; and nothing of the
// server is left, neither with the records nor as a process.
func TestRunAtServer(t *testing.T) {
	t.Parallel()
	for _, w := range withServer {
		t.Run(w.provider, func(t *testing.T) {
			t.Parallel()
			_, err := w.find()
			serverstest.Have(t, err)
			dir := t.TempDir()
			p := launch(t, "", "-provider", w.provider, "-for", "6s", "-identities", "300", "-callers", "16", "-history", dir)
			code, s := p.end(2 * runLimit)
			checkContract(t, p.stdout.Bytes())
			if code != exitOK || s.Provider != w.provider || s.Members != 3 || s.Kills != 1 || s.Joins != 1 || !slices.Equal(s.IdentitiesChecked, []int{300, 300, 300}) {
				t.Errorf("exit %d, reasons %q, provider %s, members %d, kills %d, joins %d, checked %v", code, s.Reasons, s.Provider, s.Members, s.Kills, s.Joins, s.IdentitiesChecked)
			}
			if s.RecoverySeconds == nil || *s.RecoverySeconds > w.bound || recoveryBound(w.provider).Seconds() != w.bound {
				t.Errorf("recovered in %v s, of %v", s.RecoverySeconds, w.bound)
			}
			if len(startedLine.FindAllString(p.text(), -1)) != 6 { // the server, four members, the caller
				t.Errorf("the test does not know all processes:\n%s", p.text())
			}
			if _, err := os.Stat(filepath.Join(dir, "server")); err == nil {
				t.Error("the data of the server are still there")
			}
			recomputed(t, dir, s)
		})
	}
}

// No call fails while every member is restarted.
func TestRollingAtServer(t *testing.T) {
	t.Parallel()
	for _, w := range withServer {
		t.Run(w.provider, func(t *testing.T) {
			t.Parallel()
			_, err := w.find()
			serverstest.Have(t, err)
			p := launch(t, "", "-provider", w.provider, "-rolling", "-for", "2s", "-identities", "500", "-callers", "16", "-timeout", "30s")
			code, s := p.end(2 * runLimit)
			checkRolling(t, code, s, 3, 500)
		})
	}
}

// A driver that is killed takes its server with it.
func TestKilledDriverAtServer(t *testing.T) {
	t.Parallel()
	for _, w := range withServer {
		t.Run(w.provider, func(t *testing.T) {
			t.Parallel()
			_, err := w.find()
			serverstest.Have(t, err)
			p := launch(t, "", "-provider", w.provider, "-identities", "50", "-callers", "4")
			p.await("calls/s  p50")
			p.signal(os.Kill)
			<-p.exited
			p.nothingLeft()
			if len(startedLine.FindAllString(p.text(), -1)) != 5 {
				t.Errorf("the test does not know all processes:\n%s", p.text())
			}
		})
	}
}

// Runs that share a server of the user's are clusters of their own, and leave it running.
func TestNamedServer(t *testing.T) {
	t.Parallel()
	redis := serverstest.Redis(t, servers.RedisConfig{})
	consul := serverstest.Consul(t, servers.ConsulConfig{})
	for provider, address := range map[string]string{"redis": redis.Addr, "consul": consul.URL} {
		args := []string{"-provider", provider, "-" + provider, address, "-members", "2", "-kill=false", "-join=false", "-for", "2s", "-identities", "50", "-callers", "4"}
		one, two := launch(t, "", args...), launch(t, "", args...)
		for _, p := range []*program{one, two} {
			if code, s := p.end(runLimit); code != exitOK || s.Members != 2 {
				t.Errorf("%s: exit %d, reasons %q, members %d", provider, code, s.Reasons, s.Members)
			}
		}
		o, err := parse(args, &bytes.Buffer{})
		if err == nil {
			_, err = obtain(t.Context(), o, t.TempDir())
		}
		if err != nil {
			t.Errorf("%s: after two runs the server does not answer: %v", provider, err)
		}
	}
}

// Where no server can be had, one sentence says which command gets it, and nothing is left behind.
func TestNoServer(t *testing.T) {
	temporary, kept := t.TempDir(), map[string]string{"redis": t.TempDir(), "consul": t.TempDir()}
	for _, name := range []string{"PATH", "XDG_CACHE_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	for _, name := range []string{"GRANARY_REDIS", "GRANARY_CONSUL"} {
		t.Setenv(name, "")
	}
	t.Setenv("TMPDIR", temporary)
	for _, w := range withServer {
		for _, args := range [][]string{{"-json"}, {"-json", "-history", kept[w.provider]}} {
			var out, errs bytes.Buffer
			code := Main(append(args, "-provider", w.provider), &out, &errs, Parts{})
			text := strings.TrimSuffix(errs.String(), "\n")
			if code != exitUsage || !strings.Contains(text, "run: make "+w.provider) || strings.Contains(text, "\n") {
				t.Errorf("%s: exit %d, %q; want the command that gets it", w.provider, code, text)
			}
			checkRefusal(t, true, out.Bytes(), text)
		}
	}
	for _, dir := range []string{temporary, kept["redis"], kept["consul"]} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// A user who ends the run while its server starts is not told of wrong use.
func TestInterruptWhileServerStarts(t *testing.T) {
	for _, w := range withServer {
		_, err := w.find()
		serverstest.Have(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o, err := parse([]string{"-provider", w.provider}, &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		d, err := newDriver(ctx, o, &said, &said, Parts{})
		if err != nil {
			t.Fatal(err)
		}
		d.run(ctx)
		if s := d.judge(); !s.OK || !s.Interrupted || s.ProcessesLeft != 0 || strings.Contains(said.String(), "started") {
			t.Errorf("%s: ok %v, reasons %q, interrupted %v\n%s", w.provider, s.OK, s.Reasons, s.Interrupted, said.String())
		}
		if _, err := os.Stat(d.dir); err == nil {
			t.Errorf("%s is still there", d.dir)
		}
	}
}
