package servers

import (
	"os"
	"strings"
	"testing"
)

func startRedis(t *testing.T, cfg RedisConfig) *Redis {
	t.Helper()
	r, err := StartRedis(limited(t), cfg)
	missing(t, err)
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *Redis) ask(t *testing.T, words ...string) string {
	t.Helper()
	answer, err := ask(limited(t), r.Addr, words...)
	must(t, err)
	return answer
}

// Data outlive a crash and an end in order, at the same address; Wipe takes them.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	r := startRedis(t, RedisConfig{})
	r.ask(t, "SET", "k", "kept")
	addr := r.Addr
	for how, end := range map[string]func() error{"kill": r.Kill, "shutdown": r.Shutdown} {
		must(t, end())
		if _, err := ask(limited(t), r.Addr, "PING"); err == nil {
			t.Errorf("%s: it still serves", how)
		}
		must(t, r.Start(limited(t)))
		if got := r.ask(t, "GET", "k"); got != "kept" || r.Addr != addr {
			t.Errorf("%s: %q at %s, want what was set, at %s", how, got, r.Addr, addr)
		}
	}
	must(t, r.Kill())
	must(t, r.Wipe())
	must(t, r.Start(limited(t)))
	if got := r.ask(t, "DBSIZE"); got != ":0" {
		t.Errorf("wiped, it has %s", got)
	}
}

// Stop leaves nothing: no process, no port, no folder.
func TestRedisStops(t *testing.T) {
	t.Parallel()
	r := startRedis(t, RedisConfig{})
	dir, pid := r.dir, r.p.cmd.Process.Pid
	must(t, r.Stop())
	if runs(pid) {
		t.Errorf("process %d runs", pid)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	release, err := hold(port(t, r.Addr))
	must(t, err)
	release()
}

// A paused server does not answer, and goes on where it was.
func TestRedisPauses(t *testing.T) {
	t.Parallel()
	r := startRedis(t, RedisConfig{})
	r.ask(t, "SET", "k", "v")
	must(t, r.Pause())
	if answer, err := ask(limited(t), r.Addr, "PING"); err == nil {
		t.Errorf("paused, it answers %q", answer)
	}
	must(t, r.Resume())
	if got := r.ask(t, "GET", "k"); got != "v" {
		t.Errorf("resumed: %q", got)
	}
	must(t, r.Pause())
	must(t, r.Stop()) // also one that is paused ends
}

// Settings of the test's own count; a server that wants a password serves too.
func TestRedisSettings(t *testing.T) {
	t.Parallel()
	r := startRedis(t, RedisConfig{Args: []string{"--requirepass", "secret"}})
	if _, err := ask(limited(t), r.Addr, "GET", "k"); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
	_, err := StartRedis(limited(t), RedisConfig{Args: []string{"--no-such-setting", "1"}})
	if err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("error %v, want that it has ended", err)
	}
}

// A cluster serves every slot, and sentinels know the master.
func TestRedisGroups(t *testing.T) {
	t.Parallel()
	c, err := StartRedisCluster(limited(t), t.TempDir(), 3)
	missing(t, err)
	t.Cleanup(func() { must(t, c.Stop()) })
	if len(c.Addrs()) != 3 || !strings.Contains(c.Masters[2].ask(t, "CLUSTER", "INFO"), "cluster_slots_ok:16384") {
		t.Errorf("masters %v; %s", c.Addrs(), c.Masters[2].ask(t, "CLUSTER", "INFO"))
	}
	s, err := StartRedisSentinel(limited(t), t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop()) })
	if info := s.Sentinels[1].ask(t, "INFO", "sentinel"); len(s.Addrs()) != 3 || !strings.Contains(info, s.Master.Addr) {
		t.Errorf("sentinels %v; %s", s.Addrs(), info)
	}
}
