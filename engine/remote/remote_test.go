package remote

import (
	"testing"
	"time"
)

func TestAskBetweenMembers(t *testing.T) {
	for _, network := range []string{"tcp", "memory"} {
		t.Run(network, func(t *testing.T) {
			mem := NewMemory(MemoryConfig{})
			on := func(host string) func(*Config) {
				return func(c *Config) {
					if network == "memory" {
						c.Transport = mem.Host(host)
					}
				}
			}
			a, b := startNode(t, "a", on("a")), startNode(t, "b", on("b"))
			join(t, a, b)
			b.echo("echo")
			a.echo("echo")
			got, err := a.ask(a.at(b, "echo"), str("x"), 5*time.Second)
			wantText(t, got, err, "x")
			got, err = b.ask(b.at(a, "echo"), str("y"), 5*time.Second)
			wantText(t, got, err, "y")
		})
	}
}
