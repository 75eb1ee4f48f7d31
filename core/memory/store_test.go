package memory_test

import (
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/storetest"
)

func TestStore(t *testing.T) {
	for _, bubble := range []bool{false, true} {
		storetest.Run(t, storetest.Harness{
			New: func(testing.TB) func() core.Store {
				s := memory.NewStore()
				return func() core.Store { return s }
			},
			Bubble: bubble,
		})
	}
}
