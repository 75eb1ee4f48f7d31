package servers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The names in the cache are those of what is built: a change of tools/consul makes a new folder.
func TestConsulKey(t *testing.T) {
	sums, err := os.ReadFile("../../tools/consul/go.sum")
	must(t, err)
	mod, err := os.ReadFile("../../tools/consul/go.mod")
	must(t, err)
	if sum := sha256.Sum256(sums); hex.EncodeToString(sum[:])[:12] != consulSums {
		t.Errorf("consulSums is %s; that of tools/consul/go.sum is %x", consulSums, sum[:6])
	}
	if !bytes.Contains(mod, []byte("\t"+consulModule+" "+consulVersion)) {
		t.Errorf("tools/consul/go.mod does not require %s %s", consulModule, consulVersion)
	}
}

// alone gives a test a machine with nothing on it: an empty PATH but for scripts, and an empty cache.
func alone(t *testing.T, scripts map[string]string) (cache string) {
	t.Helper()
	path, cache := t.TempDir(), t.TempDir()
	for name, text := range scripts {
		must(t, os.WriteFile(filepath.Join(path, name), []byte("#!/bin/sh\n"+text), 0o755))
	}
	t.Setenv("PATH", path)
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv(redisVariable, "")
	t.Setenv(consulVariable, "")
	return cache
}

// fakeGo is a Go command that builds a Consul which tells a version, and notes each build.
func fakeGo(note, version string) string {
	return fmt.Sprintf(`case "$1" in
build)
	echo built >> %[1]s
	while [ "$1" != -o ]; do shift; done
	printf '#!/bin/sh\necho Consul %[2]s\n' > "$2" && /bin/chmod +x "$2"
	;;
esac
`, note, version)
}

func quiet(string) {}

// It is built once, also if many ask for it at the same time, and found from then on.
func TestInstallConsul(t *testing.T) {
	notes := filepath.Join(t.TempDir(), "notes")
	cache := alone(t, map[string]string{"go": fakeGo(notes, consulVersion)})
	if _, err := FindConsul(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "make consul") {
		t.Errorf("before: %v, want what gets it", err)
	}
	killed := filepath.Join(cache, "granary", "consul", ".new-left")
	must(t, os.MkdirAll(killed, 0o755))
	paths := make([]string, 8)
	var all sync.WaitGroup
	for i := range paths {
		all.Go(func() {
			path, err := InstallConsul(limited(t), t.TempDir(), quiet)
			if err != nil {
				t.Error(err)
			}
			paths[i] = path
		})
	}
	all.Wait()
	found, err := FindConsul()
	must(t, err)
	for _, p := range paths {
		if p != found || !strings.HasPrefix(p, cache) {
			t.Errorf("installed %s, found %s", p, found)
		}
	}
	if text, err := os.ReadFile(notes); err != nil || strings.Count(string(text), "built") != 1 {
		t.Errorf("built %q, %v; want once", text, err)
	}
	if left, err := os.ReadDir(filepath.Dir(filepath.Dir(found))); err != nil || len(left) != 2 { // the lock and the folder
		t.Errorf("the cache has %v, %v", left, err)
	}
}

// What did not come to a working program of the right version leaves nothing, and the next attempt succeeds.
func TestInstallConsulFails(t *testing.T) {
	notes := filepath.Join(t.TempDir(), "notes")
	for why, script := range map[string]string{
		"another version": fakeGo(notes, "v1.0.0"),
		"no space left":   "case $1 in build) echo no space left; exit 1;; esac\n",
	} {
		t.Run(why, func(t *testing.T) {
			cache := alone(t, map[string]string{"go": script})
			_, err := InstallConsul(limited(t), t.TempDir(), quiet)
			if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), consulVariable) {
				t.Errorf("error %v, want %q and the remedy", err, why)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "granary", "consul", "*")); len(left) != 1 { // the lock
				t.Errorf("left behind: %v", left)
			}
			if _, err := FindConsul(); !errors.Is(err, ErrMissing) {
				t.Errorf("found after a failure: %v", err)
			}
			must(t, os.WriteFile(filepath.Join(os.Getenv("PATH"), "go"), []byte("#!/bin/sh\n"+fakeGo(notes, consulVersion)), 0o755))
			if _, err := InstallConsul(limited(t), t.TempDir(), quiet); err != nil {
				t.Errorf("the next attempt: %v", err)
			}
		})
	}
}

// fakeApt are an apt-get and a dpkg-deb that get a redis-server of a version.
func fakeApt(version string) map[string]string {
	return map[string]string{
		"apt-get": `case "$*" in
*simulate*) printf 'NOTE: a simulation\nInst liblzf1 (3.6-3 Debian:12 [amd64])\nConf liblzf1 (3.6-3)\n' ;;
*download*) for last; do printf '' > "$last.deb"; done ;;
esac
`,
		"dpkg-deb": fmt.Sprintf(`/bin/mkdir -p "$3/usr/bin"
printf '#!/bin/sh\necho Redis server v=%s sha=0\n' > "$3/usr/bin/redis-server" && /bin/chmod +x "$3/usr/bin/redis-server"
`, version),
	}
}

// Redis is unpacked where none is on PATH or only one that is too old, and taken from PATH else.
func TestInstallRedis(t *testing.T) {
	old, recent := "echo Redis server v=6.0.16 sha=0\n", "echo Redis server v=7.2.4 sha=0\n"
	for name, c := range map[string]struct{ onPath, inPackages, want string }{
		"from packages":       {"", "7.0.15", "usr/bin/redis-server"},
		"old on PATH":         {old, "7.0.15", "usr/bin/redis-server"},
		"on PATH":             {recent, "", "redis-server"},
		"old in the packages": {"", "6.0.16", ""},
	} {
		t.Run(name, func(t *testing.T) {
			scripts := fakeApt(c.inPackages)
			if c.onPath != "" {
				scripts["redis-server"] = c.onPath
			}
			cache := alone(t, scripts)
			path, err := InstallRedis(limited(t), quiet)
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), "6.0.16") || !strings.Contains(err.Error(), redisVariable) {
					t.Errorf("error %v, want the version that was got and the remedy", err)
				}
				return
			}
			if err != nil || !strings.HasSuffix(path, c.want) || strings.HasPrefix(path, cache) == (c.onPath == recent) {
				t.Errorf("installed %s, %v", path, err)
			}
		})
	}
}

// A system without packages of that kind is told what to install.
func TestInstallRedisWithoutApt(t *testing.T) {
	alone(t, nil)
	_, err := InstallRedis(limited(t), quiet)
	if err == nil || !strings.Contains(err.Error(), "apt-get") || !strings.Contains(err.Error(), "install redis-server") {
		t.Errorf("error %v, want what to install", err)
	}
}

// What a variable names is taken as it is; if it is nothing, that is said, and nothing else is taken instead.
func TestNamedServers(t *testing.T) {
	recent := "echo Redis server v=7.2.4 sha=0\n"
	alone(t, map[string]string{"redis-server": recent, "consul": "echo Consul v1.20.0\n"})
	named := t.TempDir()
	t.Setenv(redisVariable, named)
	t.Setenv(consulVariable, filepath.Join(named, "consul"))
	find := map[string]func() (string, error){
		"redis":          FindRedis,
		"consul":         FindConsul,
		"install redis":  func() (string, error) { return InstallRedis(limited(t), quiet) },
		"install consul": func() (string, error) { return InstallConsul(limited(t), "", quiet) },
	}
	for what, f := range find {
		if path, err := f(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "GRANARY_") {
			t.Errorf("%s: %s, %v; want an error with the variable", what, path, err)
		}
	}
	for _, name := range []string{"redis-server", "consul"} {
		must(t, os.WriteFile(filepath.Join(named, name), []byte("#!/bin/sh\n"), 0o755))
	}
	for what, f := range find {
		if path, err := f(); err != nil || !strings.HasPrefix(path, named) {
			t.Errorf("%s: %s, %v; want the one that is named", what, path, err)
		}
	}
}

// Three attempts, each after a longer pause, and none after the end.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tries, start := 0, time.Now()
		if err := retry(ctx, time.Second, func() error { tries++; return fmt.Errorf("no %d", tries) }); err == nil || err.Error() != "no 3" {
			t.Errorf("error %v, want the third", err)
		}
		if took := time.Since(start); tries != 3 || took != 3*time.Second {
			t.Errorf("%d attempts in %v", tries, took)
		}
		tries = 0
		if err := retry(ctx, time.Hour, func() error { tries++; return nil }); err != nil || tries != 1 {
			t.Errorf("%d attempts at what succeeds, %v", tries, err)
		}
		go cancel()
		if err := retry(ctx, time.Hour, func() error { return errors.New("no") }); !errors.Is(err, context.Canceled) {
			t.Errorf("ended while waiting: %v", err)
		}
	})
}

// One who waits for the lock of another can be stopped, and gets it when that one ends.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := lock(t.Context(), path)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second has %v", err)
	}
	time.AfterFunc(time.Millisecond, release)
	again, err := lock(t.Context(), path)
	must(t, err)
	again()
}

func TestSystem(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"ID=debian\nVERSION_ID=\"12\"\n": "debian-12-",
		"VERSION_ID=24.04\nID=ubuntu\n":  "ubuntu-24.04-",
		"ID=arch\n":                      "arch-",
	} {
		file := filepath.Join(dir, "os-release")
		must(t, os.WriteFile(file, []byte(text), 0o644))
		if got := system(file); !strings.HasPrefix(got, want) {
			t.Errorf("%q is %s, want %s…", text, got, want)
		}
	}
	if got := system(filepath.Join(dir, "none")); strings.HasPrefix(got, "-") {
		t.Errorf("without the file: %s", got)
	}
}

func TestPackages(t *testing.T) {
	plan := "NOTE: This is only a simulation!\nInst liblzf1 (3.6-3 Debian)\nInst redis-tools (5:7.0.15 Debian) []\nConf liblzf1 (3.6-3)\n"
	if got := strings.Join(packages(plan), " "); got != "liblzf1 redis-server redis-tools" {
		t.Errorf("packages %s", got)
	}
}

// The building is told of now and then, not at each package.
func TestCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		heard := counting(time.Now(), 30*time.Second, func(s string) { said = append(said, s) })
		for range 70 {
			time.Sleep(time.Second)
			heard("a package")
		}
		if want := "consul: 30 packages compiled, 30s|consul: 60 packages compiled, 1m0s"; strings.Join(said, "|") != want {
			t.Errorf("said %q", said)
		}
	})
}
