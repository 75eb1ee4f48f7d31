package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// RedisCluster is a Redis Cluster of masters without replicas, each with an equal part of the slots. What the
// others hold is served while one is away.
type RedisCluster struct{ Masters []*Redis }

// slots is how many a Redis Cluster has.
const slots = 16_384

// StartRedisCluster starts n masters below dir, and returns once all of them see the whole cluster.
func StartRedisCluster(ctx context.Context, dir string, n int) (*RedisCluster, error) {
	c := &RedisCluster{}
	fail := func(err error) (*RedisCluster, error) { return nil, errors.Join(err, c.Stop()) }
	var buses []int
	for i := range n {
		home := filepath.Join(dir, fmt.Sprint("master", i))
		ports, err := FreePorts(1)
		if err == nil {
			err = os.MkdirAll(home, 0o700)
		}
		if err != nil {
			return fail(err)
		}
		r, err := StartRedis(ctx, RedisConfig{Dir: home, Args: []string{
			"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(ports[0]), "--cluster-node-timeout", "2000",
			"--cluster-require-full-coverage", "no",
		}})
		if err != nil {
			return fail(err)
		}
		c.Masters, buses = append(c.Masters, r), append(buses, ports[0])
	}
	host, port, err := net.SplitHostPort(c.Masters[0].Addr)
	if err != nil {
		return fail(err)
	}
	for i, m := range c.Masters {
		err := command(ctx, m.Addr, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*slots/n), fmt.Sprint((i+1)*slots/n-1))
		if err == nil && i > 0 {
			err = command(ctx, m.Addr, "CLUSTER", "MEET", host, port, fmt.Sprint(buses[0]))
		}
		if err != nil {
			return fail(err)
		}
	}
	for _, m := range c.Masters {
		err := m.p.await(ctx, m.log(), func(ctx context.Context) error {
			info, err := ask(ctx, m.Addr, "CLUSTER", "INFO")
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprint("cluster_size:", n))) {
				err = errors.New(info)
			}
			return err
		})
		if err != nil {
			return fail(err)
		}
	}
	return c, nil
}

// Addrs are those of the masters.
func (c *RedisCluster) Addrs() (addrs []string) {
	for _, m := range c.Masters {
		addrs = append(addrs, m.Addr)
	}
	return addrs
}

// Stop ends all of them.
func (c *RedisCluster) Stop() (err error) {
	for _, m := range c.Masters {
		err = errors.Join(err, m.Stop())
	}
	return err
}

// RedisSentinel is a master and a replica, watched by three sentinels, two of which are enough to have the
// replica take over within a few seconds.
type RedisSentinel struct {
	Name      string // of the master, for the sentinels
	Master    *Redis
	Replica   *Redis
	Sentinels []*Redis
}

// StartRedisSentinel starts them below dir, and returns once the sentinels know the replica and each other.
func StartRedisSentinel(ctx context.Context, dir string) (*RedisSentinel, error) {
	s := &RedisSentinel{Name: "granary"}
	fail := func(err error) (*RedisSentinel, error) { return nil, errors.Join(err, s.Stop()) }
	var err error
	if s.Master, err = startIn(ctx, dir, "master"); err != nil {
		return fail(err)
	}
	host, port, err := net.SplitHostPort(s.Master.Addr)
	if err != nil {
		return fail(err)
	}
	if s.Replica, err = startIn(ctx, dir, "replica", "--replicaof", host+" "+port); err != nil {
		return fail(err)
	}
	for i := range 3 {
		one, err := startSentinel(ctx, filepath.Join(dir, fmt.Sprint("sentinel", i)), s.Name, host, port)
		if err != nil {
			return fail(err)
		}
		s.Sentinels = append(s.Sentinels, one)
	}
	for _, one := range s.Sentinels {
		err := one.p.await(ctx, one.log(), func(ctx context.Context) error {
			text, err := ask(ctx, one.Addr, "INFO", "sentinel")
			if err == nil && !strings.Contains(text, "status=ok,address="+s.Master.Addr+",slaves=1,sentinels=3") {
				err = errors.New(text)
			}
			return err
		})
		if err != nil {
			return fail(err)
		}
	}
	return s, nil
}

func startIn(ctx context.Context, dir, name string, args ...string) (*Redis, error) {
	home := filepath.Join(dir, name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	return StartRedis(ctx, RedisConfig{Dir: home, Args: args})
}

// startSentinel runs redis-server as a sentinel, which keeps what it learns in its file of settings.
func startSentinel(ctx context.Context, dir, name, host, port string) (*Redis, error) {
	binary, err := findRedis()
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(1)
	if err != nil {
		return nil, err
	}
	r := &Redis{Addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), dir: dir, binary: binary}
	settings := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\n"+
		"sentinel monitor %[4]s %[5]s %[6]s 2\nsentinel down-after-milliseconds %[4]s 1000\nsentinel failover-timeout %[4]s 3000\n",
		ports[0], dir, r.log(), name, host, port)
	file := filepath.Join(dir, "sentinel.conf")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte(settings), 0o600)); err != nil {
		return nil, err
	}
	if r.p, err = launch(binary.with(file, "--sentinel")); err != nil {
		return nil, fmt.Errorf("redis-server --sentinel: %w", err)
	}
	if err := r.p.await(ctx, r.log(), func(ctx context.Context) error { return ping(ctx, r.Addr) }); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// Addrs are those of the sentinels.
func (s *RedisSentinel) Addrs() (addrs []string) {
	for _, one := range s.Sentinels {
		addrs = append(addrs, one.Addr)
	}
	return addrs
}

// Stop ends all of them.
func (s *RedisSentinel) Stop() (err error) {
	for _, r := range append(s.Sentinels, s.Replica, s.Master) {
		if r != nil {
			err = errors.Join(err, r.Stop())
		}
	}
	return err
}

// ask sends one command and returns the text of its answer; an error of the server is one here.
func ask(ctx context.Context, addr string, words ...string) (string, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := fmt.Fprint(conn, strings.Join(words, " ")+"\r\n"); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	var size int
	switch {
	case strings.HasPrefix(line, "-"):
		return "", fmt.Errorf("%s to %s: %s", words[0], addr, line[1:])
	case strings.HasPrefix(line, "$"):
		if _, err := fmt.Sscan(line[1:], &size); err != nil || size < 0 {
			return "", fmt.Errorf("%s to %s: answer %q", words[0], addr, line)
		}
		text := make([]byte, size)
		for n := 0; n < size; {
			k, err := in.Read(text[n:])
			if err != nil {
				return "", err
			}
			n += k
		}
		return string(text), nil
	}
	return line, nil
}

func command(ctx context.Context, addr string, words ...string) error {
	_, err := ask(ctx, addr, words...)
	return err
}
