package clustertest_test

import (
	"context"
	"fmt"
	"testing"

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
