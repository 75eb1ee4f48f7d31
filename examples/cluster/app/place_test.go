package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/granary-go/granary/examples/cluster/history"
	"github.com/granary-go/granary/examples/cluster/wiring"
	"github.com/granary-go/granary/providers/memberlist"
)

// Members are replaced by processes at their very addresses, ten of which were killed and ten left:
// each serves again, and what is known of the one before harms nobody.
func TestRestartsOnTheSameAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// With the flags, since a run is held to them.
	p := launch(t, fmt.Sprint("same addresses at ", freePorts(t, 2*3)), "-rolling", "-kill", "-for", "1s", "-identities", "200", "-callers", "8", "-history", dir)
	code, s := p.end(2 * runLimit)
	if code != exitOK || s.Restarts != 2*restartsEach || s.Kills != restartsEach || s.Members != 3 || s.FailedAfterRecovery+s.ExecutedTwice+s.DuplicateActivations != 0 {
		t.Errorf("exit %d, reasons %q, restarts %d, kills %d", code, s.Reasons, s.Restarts, s.Kills)
	}
	if !slices.Equal(s.IdentitiesChecked, slices.Repeat([]int{200}, 1+2*restartsEach)) {
		t.Errorf("identities checked %v", s.IdentitiesChecked)
	}
	recomputed(t, dir, s)
}

// restartsEach is how often a member is replaced after a kill, and how often after a leave.
const restartsEach = 10

// restartsInPlace replaces one member after the other, always the oldest.
func restartsInPlace(d *driver) []planned {
	leave := planned{0, func(ctx context.Context) error { return d.restart(ctx, d.members[0]) }}
	crash := planned{0, func(ctx context.Context) error {
		m := d.members[0]
		if err := d.kill(m); err != nil {
			return err
		}
		if err := d.wait(ctx, d.patience(), m.name+" to be gone", func() bool { return m.gone }); err != nil {
			return err
		}
		return d.add(ctx, history.Restart, "after the restart of "+m.name)
	}}
	return slices.Repeat([]planned{leave, crash}, restartsEach)
}

// sameAddresses has every third member process use the same addresses: it follows the one before.
func sameAddresses(base, process string, c *wiring.Config) {
	c.Memberlist.Preset = memberlist.LAN
	number, err := strconv.Atoi(strings.TrimPrefix(process, "m"))
	first, err2 := strconv.Atoi(base)
	if err != nil || err2 != nil {
		return // the caller's process
	}
	port := first + (number-1)%3*2
	c.Cluster.Address, c.Memberlist.Bind = fmt.Sprint("127.0.0.1:", port), fmt.Sprint("127.0.0.1:", port+1)
}

// freePorts returns the first of n ports that nobody uses, below those that the kernel gives away, so that
// no connection takes one while its owner is replaced.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 1000 {
		first, free := 12_000+rand.IntN(8_000), 0
		for free < n && portIsFree(first+free) {
			free++
		}
		if free == n {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func portIsFree(port int) bool {
	address := fmt.Sprint("127.0.0.1:", port)
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
