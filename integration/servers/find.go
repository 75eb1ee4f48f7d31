package servers

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrMissing says that a server's program is not on this machine; the text names the command that gets it.
var ErrMissing = errors.New("not on this machine")

// What stands in the cache is named by what it was made of: the versions of Consul and of all that is built
// into it, or the system whose packages were unpacked.
const (
	consulVersion = "v1.11.11"
	consulSums    = "ff0d9b4b23c0" // of tools/consul/go.sum; a test holds it to the file
	leastRedis    = 7
)

// The variables of the environment that name servers of the user's own.
const (
	redisVariable  = "GRANARY_REDIS"  // the folder of redis-server
	consulVariable = "GRANARY_CONSUL" // the program
)

// cached is a folder in the user's cache.
func cached(elem ...string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder of the user: %w; set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(append([]string{dir, "granary"}, elem...)...), nil
}

// consulFolder is where `make consul` puts the program that it builds.
func consulFolder() (string, error) { return cached("consul", consulVersion+"-"+consulSums) }

// redisFolder is where `make redis` unpacks the packages of this system.
func redisFolder() (string, error) { return cached("redis", system("/etc/os-release")) }

// system names what the packages of a machine are made for: debian-12-amd64.
func system(release string) string {
	id, version := runtime.GOOS, ""
	if f, err := os.Open(release); err == nil {
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); {
			key, value, _ := strings.Cut(in.Text(), "=")
			switch value = strings.Trim(value, `"`); key {
			case "ID":
				id = value
			case "VERSION_ID":
				version = "-" + value
			}
		}
	}
	return id + version + "-" + runtime.GOARCH
}

// program is a program and the arguments that come before any other.
type program []string

func (c program) with(args ...string) *exec.Cmd {
	return exec.Command(c[0], append(c[1:len(c):len(c)], args...)...)
}

// FindConsul is the program that Consul servers are started from: that of GRANARY_CONSUL, the one that
// `make consul` has built, or the one on PATH.
func FindConsul() (string, error) {
	if named := os.Getenv(consulVariable); named != "" {
		return runnable(consulVariable, named)
	}
	dir, err := consulFolder()
	if err != nil {
		return "", err
	}
	if path := filepath.Join(dir, "consul"); isProgram(path) {
		return path, nil
	}
	if path, err := exec.LookPath("consul"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("consul: %w; run: make consul", ErrMissing)
}

// FindRedis is the redis-server that servers are started from: that of GRANARY_REDIS, which names its folder,
// the one on PATH, or the one that `make redis` has unpacked. It is version 7 or newer.
func FindRedis() (string, error) {
	c, err := findRedis()
	if err != nil {
		return "", err
	}
	return c[len(c)-1], nil
}

func findRedis() (program, error) {
	if named := os.Getenv(redisVariable); named != "" {
		path, err := runnable(redisVariable, filepath.Join(named, "redis-server"))
		return program{path}, err
	}
	if path, err := exec.LookPath("redis-server"); err == nil && recent(program{path}) == nil {
		return program{path}, nil
	}
	dir, err := redisFolder()
	if err != nil {
		return nil, err
	}
	c := unpacked(dir)
	if !isProgram(c[len(c)-1]) {
		return nil, fmt.Errorf("redis-server: %w; run: make redis", ErrMissing)
	}
	return c, nil
}

// unpacked is the redis-server in a folder of unpacked packages, with the libraries that came with it.
func unpacked(dir string) program {
	var libs []string
	for _, at := range []string{"usr/lib", "lib"} {
		some, _ := filepath.Glob(filepath.Join(dir, at, "*-linux-gnu*")) // the pattern is well formed
		libs = append(libs, some...)
	}
	return program{"/usr/bin/env", "LD_LIBRARY_PATH=" + strings.Join(libs, ":"), filepath.Join(dir, "usr", "bin", "redis-server")}
}

// recent is an error where a redis-server does not run or is older than what the providers need.
func recent(c program) error {
	out, err := c.with("--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s --version: %w\n%s", c[len(c)-1], err, out)
	}
	var major int
	if _, text, found := strings.Cut(string(out), "v="); found {
		_, _ = fmt.Sscan(strings.Split(text, ".")[0], &major) // 0 is too old
	}
	if major < leastRedis {
		return fmt.Errorf("%s is older than %d: %s", c[len(c)-1], leastRedis, strings.TrimSpace(string(out)))
	}
	return nil
}

func runnable(variable, path string) (string, error) {
	if !isProgram(path) {
		return "", fmt.Errorf("%s: %s is no program: %w; correct it or unset it", variable, path, ErrMissing)
	}
	return path, nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (info.Mode()&0o111 != 0 || runtime.GOOS == "windows")
}
