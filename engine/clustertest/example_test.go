package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// aTest stands for the *testing.T of a test.
type aTest struct {
	testing.TB
	cleanups []func()
}

func (t *aTest) Helper()          {}
func (t *aTest) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }
func (t *aTest) end() {
	for _, f := range t.cleanups {
		f()
	}
}

func ExampleStart() {
	t := &aTest{}
	defer t.end()

	c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{counterKind()}})
	c.Agree()
	id := clustertest.Identities("Counter", 1)[0]
	for _, node := range c.Nodes() { // both call the same grain
		n, err := grain.Call[int](context.Background(), node, id, "Add", 2)
		fmt.Println(n, err)
	}
	fmt.Println(len(c.Hosts(id)), "host")
	// Output:
	// 2 <nil>
	// 4 <nil>
	// 1 host
}

// A test cuts the network between a caller and the member that runs the grain, and mends it.
func ExampleCluster_Cut() {
	t := &aTest{}
	defer t.end()

	c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{counterKind()}})
	c.Agree()
	id := clustertest.Identities("Counter", 1)[0]
	add := func(limit time.Duration) (int, error) {
		caller := c.Node(0)
		if hosts := c.Hosts(id); len(hosts) > 0 && hosts[0] == caller {
			caller = c.Node(1)
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return grain.Call[int](ctx, caller, id, "Add", 1)
	}
	n, err := add(time.Minute)
	fmt.Println(n, err)

	c.Cut(0, 1)
	_, err = add(20 * time.Millisecond)
	fmt.Println("while cut:", errors.Is(err, context.DeadlineExceeded))

	c.Heal(0, 1) // what was held arrives: the second call is made after all
	n, err = add(time.Minute)
	fmt.Println(n >= 2, err)
	// Output:
	// 1 <nil>
	// while cut: true
	// true <nil>
}
