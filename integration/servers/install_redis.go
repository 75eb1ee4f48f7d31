package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// InstallRedis makes sure that there is a redis-server, version 7 or newer, and returns its path. Where FindRedis
// finds none, it unpacks the packages of a Debian or Ubuntu into the user's cache; nothing of the system is
// changed, and no rights are needed for it. Several may call it at once, in processes of their own. Say hears
// what takes time, a line at a time.
func InstallRedis(ctx context.Context, say func(string)) (string, error) {
	path, err := FindRedis()
	if err == nil || os.Getenv(redisVariable) != "" {
		return path, err
	}
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("redis: no redis-server of version %d or newer on PATH, and no %s here to get one with: install redis-server by the means of this system, or name its folder by %s", leastRedis, tool, redisVariable)
		}
	}
	dir, err := redisFolder()
	if err != nil {
		return "", err
	}
	have := func() error {
		_, err := FindRedis()
		return err
	}
	if err := install(ctx, dir, have, func(fresh string) error { return unpackRedis(ctx, fresh, say) }); err != nil {
		return "", fmt.Errorf("redis: %w\nInstall redis-server %d or newer by the means of this system, or name its folder by %s", err, leastRedis, redisVariable)
	}
	return FindRedis()
}

// unpackRedis downloads the packages and what they need that this machine lacks, and unpacks them.
func unpackRedis(ctx context.Context, fresh string, say func(string)) error {
	say("redis: downloading the packages of this system …")
	a := apt{dir: filepath.Dir(fresh)}
	if err := retry(ctx, retryPause, func() error { return a.fetch(ctx) }); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := perform(ctx, a.dir, nil, nil, "dpkg-deb", "-x", deb, fresh); err != nil {
			return err
		}
	}
	return recent(unpacked(fresh))
}

// apt runs apt-get with lists and a cache of its own, so that it neither needs nor changes those of the system.
type apt struct{ dir string }

func (a apt) run(ctx context.Context, args ...string) (string, error) {
	settings := []string{"apt-get", "-q", "-o", "Dir::State::Lists=" + filepath.Join(a.dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "APT::Sandbox::User=", "-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Retries=3"}
	return perform(ctx, a.dir, []string{"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, nil, append(settings, args...)...)
}

func (a apt) fetch(ctx context.Context) error {
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return err
		}
	}
	if _, err := a.run(ctx, "update"); err != nil {
		return err
	}
	plan, err := a.run(ctx, "--simulate", "--no-install-recommends", "install", "redis-server")
	if err != nil {
		return err
	}
	_, err = a.run(ctx, append([]string{"download"}, packages(plan)...)...)
	return err
}

// packages are those of Redis, and those that a simulated installation names.
func packages(plan string) []string {
	names := []string{"redis-server", "redis-tools"}
	for line := range strings.Lines(plan) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" {
			names = append(names, f[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
