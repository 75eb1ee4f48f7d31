package clustertest_test

import (
	"testing"

	"github.com/granary-go/granary/core/strategy"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// TestLocalFirstRunsAGrainWhereItIsFirstCalled shows that the engine tells a strategy its member.
func TestLocalFirstRunsAGrainWhereItIsFirstCalled(t *testing.T) {
	kind := counterKind()
	kind.Strategy = strategy.LocalFirst{}
	c := clustertest.Start(t, clustertest.Config{Members: 3, Kinds: grain.Kinds{kind}})
	c.Agree()
	for i, id := range clustertest.Identities("Counter", 12) {
		node := c.Node(i % 3)
		if _, err := grain.Call[int](t.Context(), node, id, "Add", 1); err != nil {
			t.Fatal(err)
		}
		if hosts := c.Hosts(id); len(hosts) != 1 || hosts[0] != node {
			t.Errorf("%s does not run where it was called first", id)
		}
	}
}
