package core_test

import (
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/storetest"
)

// TestTheExampleStoreConforms keeps the example of a store honest.
func TestTheExampleStoreConforms(t *testing.T) {
	storetest.Run(t, storetest.Harness{New: func(testing.TB) func() core.Store {
		s := &tiny{items: map[core.Key]core.Item{}}
		return func() core.Store { return s }
	}})
}
