package kit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// victim is the member that is killed; member 0 is the process that calls.
const victim = 1

// Limits of the kill row. A library that needs longer has failed.
const (
	formLimit     = 20 * time.Second
	recoveryLimit = 45 * time.Second
	retryPause    = 5 * time.Millisecond
)

// runKill kills one of three member processes with SIGKILL. Each grain that it hosted has a caller
// of its own, which calls until it is answered. The clock starts when kill(2) has returned.
func runKill(s Subject, row *Row, n int, res *Result) error {
	self, children, err := processes(s, row.width)
	if err != nil {
		return err
	}
	lost, err := hostedBy(self, victim, n)
	if err != nil {
		return err
	}
	if len(lost) == 0 {
		return fmt.Errorf("member %d hosts none of %d grains", victim, n)
	}
	survivors := slices.Delete(slices.Clone(children), victim-1, victim)
	m, err := begin(survivors...)
	if err != nil {
		return err
	}
	if err := children[victim-1].kill(); err != nil {
		return err
	}
	m.start = time.Now()
	answered, failures, err := recovery(self, lost, m.start)
	if err != nil {
		return err
	}
	if err := m.end(res, 1); err != nil {
		return err
	}
	res.set("grains", float64(len(lost)))
	res.set("first_ms", slices.Min(answered).Seconds()*1e3)
	res.set("all_ms", slices.Max(answered).Seconds()*1e3)
	res.set("errors", float64(failures))
	runtime.KeepAlive(children)
	return nil
}

// processes starts the members, this process as the first of them, and waits until all see all.
func processes(s Subject, n int) (Member, []*child, error) {
	ports, err := FreePorts(n)
	if err != nil {
		return nil, nil, err
	}
	var self Member
	children := make([]*child, n-1)
	err = together(n, func(i int) (err error) {
		cfg := MemberConfig{Index: i, Ports: ports}
		if i == 0 {
			self, err = s.Member(cfg)
			return err
		}
		children[i-1], err = startChild("member", cfg)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	err = poll(formLimit, "form", func() (bool, error) {
		if self.Members() != n {
			return false, nil
		}
		for _, c := range children {
			var seen int
			if err := c.call("members", nil, &seen); err != nil || seen != n {
				return false, err
			}
		}
		return true, nil
	})
	return self, children, err
}

// hostedBy activates n grains and returns the keys of those on that member.
func hostedBy(m Member, index, n int) ([]string, error) {
	var keys []string
	for i := range n {
		key := fmt.Sprintf("grain-%d", i)
		at, err := m.Where(key)
		if err != nil {
			return nil, fmt.Errorf("activate %s: %w", key, err)
		}
		if at == index {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// recovery calls each key until it is answered, and returns when each was, counted from since, and
// how many calls failed.
func recovery(m Member, keys []string, since time.Time) ([]time.Duration, int64, error) {
	answered := make([]time.Duration, len(keys))
	var failures atomic.Int64
	err := together(len(keys), func(i int) error {
		return poll(recoveryLimit, "recover "+keys[i], func() (bool, error) {
			at, err := m.Where(keys[i])
			if err != nil {
				failures.Add(1)
				time.Sleep(retryPause)
				return false, nil
			}
			if at == victim {
				return false, fmt.Errorf("%s: answered by the dead member", keys[i])
			}
			answered[i] = time.Since(since)
			return true, nil
		})
	})
	return answered, failures.Load(), err
}

// serveMember is a child process of the kill row.
func serveMember(s Subject, cfg MemberConfig) (map[string]command, error) {
	m, err := s.Member(cfg)
	if err != nil {
		return nil, err
	}
	return map[string]command{
		"members": func([]byte) (any, error) { return m.Members(), nil },
	}, nil
}

// FreePorts returns n loopback ports that were free a moment ago, for TCP and UDP: membership
// protocols need to know each other's port before they start. They are drawn below the range from
// which kernels take ports by themselves, so that no connection gets one of them meanwhile.
func FreePorts(n int) ([]int, error) {
	const least, count, tries = 20_000, 10_000, 1_000
	var ports []int
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := least + rand.IntN(count)
		if !slices.Contains(ports, port) && portIsFree(port) {
			ports = append(ports, port)
		}
	}
	return nil, fmt.Errorf("find %d free ports from %d to %d: found %d", n, least, least+count-1, len(ports))
}

func portIsFree(port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
