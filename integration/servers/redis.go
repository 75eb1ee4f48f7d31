package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrMissing says that a server's program is not on this machine; the text names the command that gets it.
var ErrMissing = errors.New("not on this machine")

// RedisConfig says how a Redis server is run.
type RedisConfig struct {
	Dir  string   // for its data and log; empty: one in the system's folder for temporary files, removed by Stop
	Args []string // further settings, as on its command line: "--maxmemory", "10mb"
}

// Redis is a redis-server of this run, on a port of loopback.
type Redis struct {
	Addr string

	dir    string
	own    bool // dir is removed by Stop
	args   []string
	binary []string
	p      *process
}

// StartRedis starts redis-server with each write on disk before it is answered (appendfsync always), and
// returns once it answers. Stop ends it; it also ends with this process, however that ends.
func StartRedis(ctx context.Context, cfg RedisConfig) (*Redis, error) {
	binary, err := findRedis("redis-server")
	if err != nil {
		return nil, err
	}
	r := &Redis{dir: cfg.Dir, args: cfg.Args, binary: binary}
	if r.dir == "" {
		if r.dir, err = os.MkdirTemp("", "granary-redis"); err != nil {
			return nil, err
		}
		r.own = true
	}
	for try := 0; ; try++ {
		ports, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		r.Addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
		if err = r.Start(ctx); err == nil {
			return r, nil
		}
		if try == 2 || ctx.Err() != nil {
			return nil, errors.Join(err, r.Stop())
		}
	}
}

// findRedis is the command line of a program of Redis: that of GRANARY_REDIS (a folder), the one on PATH, or
// the one that `make redis` has put into the user's cache.
func findRedis(name string) ([]string, error) {
	if dir := os.Getenv("GRANARY_REDIS"); dir != "" {
		return []string{filepath.Join(dir, name)}, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return []string{path}, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrMissing, err)
	}
	root := filepath.Join(cache, "granary", "redis")
	path := filepath.Join(root, "usr", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s: %w; run: make redis", name, ErrMissing)
	}
	libs, err := filepath.Glob(filepath.Join(root, "usr", "lib", "*-linux-gnu*"))
	if err != nil {
		return nil, err
	}
	return []string{"/usr/bin/env", "LD_LIBRARY_PATH=" + strings.Join(libs, ":"), path}, nil
}

// Start runs the server again, after Kill or Shutdown, with the data that it has.
func (r *Redis) Start(ctx context.Context) error {
	_, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return err
	}
	args := append(r.binary[1:len(r.binary):len(r.binary)], "--port", port, "--bind", "127.0.0.1", "--dir", r.dir,
		"--logfile", r.log(), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	cmd := exec.Command(r.binary[0], append(args, r.args...)...)
	if r.p, err = launch(cmd); err != nil {
		return fmt.Errorf("redis-server: %w", err)
	}
	return r.p.await(ctx, r.log(), func(ctx context.Context) error { return ping(ctx, r.Addr) })
}

func (r *Redis) log() string { return filepath.Join(r.dir, "redis.log") }

// ping asks a server whether it serves. One that wants a password does.
func ping(ctx context.Context, addr string) error {
	answer, err := ask(ctx, addr, "PING")
	switch {
	case err != nil && strings.Contains(err.Error(), "NOAUTH"):
		return nil
	case err == nil && answer != "+PONG":
		return errors.New(answer)
	}
	return err
}

// Kill ends the server as a crash would.
func (r *Redis) Kill() error { return r.p.kill() }

// Pause stops the server without ending it; its connections stay open. Resume goes on.
func (r *Redis) Pause() error { return r.p.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (r *Redis) Resume() error { return r.p.signal(syscall.SIGCONT) }

// Wipe removes the data of a server that has ended.
func (r *Redis) Wipe() error {
	return errors.Join(os.RemoveAll(filepath.Join(r.dir, "appendonlydir")), os.RemoveAll(filepath.Join(r.dir, "dump.rdb")))
}

// Stop ends the server, and removes its data where the folder is its own.
func (r *Redis) Stop() error {
	var err error
	if r.p != nil {
		err = r.p.stop(5 * time.Second)
	}
	if r.own {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	return err
}
