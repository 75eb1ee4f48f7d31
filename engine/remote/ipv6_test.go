package remote

import (
	"net"
	"testing"
	"time"
)

// TestIPv6 links two members on [::1]. A machine without IPv6 has nothing to test.
func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Logf("no IPv6 here: %v", err)
		return
	}
	_ = l.Close()
	six := func(c *Config) { c.Address = "[::1]:0" }
	a, b := startNode(t, "a", six), startNode(t, "b", six)
	join(t, a, b)
	b.echo("echo")
	got, err := a.ask(a.at(b, "echo"), str("x"), time.Minute)
	wantText(t, got, err, "x")
}
