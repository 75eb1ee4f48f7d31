package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

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
	binary program
	p      *process
}

// redisLimit is how long a redis-server may take to end in order.
const redisLimit = 5 * time.Second

// StartRedis starts redis-server with each write on disk before it is answered (appendfsync always), and
// returns once it answers. Stop ends it; it also ends with this process, however that ends.
func StartRedis(ctx context.Context, cfg RedisConfig) (*Redis, error) {
	binary, err := findRedis()
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
		ports, err := FreePorts(1)
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

// Start runs the server again, after Kill or Shutdown, with the data that it has.
func (r *Redis) Start(ctx context.Context) error {
	_, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return err
	}
	args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", r.dir,
		"--logfile", r.log(), "--save", "", "--appendonly", "yes", "--appendfsync", "always"}
	if r.p, err = launch(r.binary.with(append(args, r.args...)...)); err != nil {
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

// Pid is the number of its process.
func (r *Redis) Pid() int { return r.p.cmd.Process.Pid }

// Kill ends the server as a crash would.
func (r *Redis) Kill() error { return r.p.kill() }

// Shutdown ends the server in order; its data stay.
func (r *Redis) Shutdown() error { return r.p.stop(redisLimit) }

// Pause stops the server without ending it; its connections stay open. Resume goes on.
func (r *Redis) Pause() error { return r.p.pause() }

// Resume ends a Pause.
func (r *Redis) Resume() error { return r.p.resume() }

// Wipe removes the data of a server that has ended.
func (r *Redis) Wipe() error {
	return errors.Join(os.RemoveAll(filepath.Join(r.dir, "appendonlydir")), os.RemoveAll(filepath.Join(r.dir, "dump.rdb")))
}

// Stop ends the server, and removes its data where the folder is its own.
func (r *Redis) Stop() error {
	var err error
	if r.p != nil {
		err = r.p.stop(redisLimit)
	}
	if r.own {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	return err
}
