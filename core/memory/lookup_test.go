package memory_test

import (
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/lookuptest"
	"github.com/granary-go/granary/core/memory"
)

func lookups(bubble bool) lookuptest.Harness {
	return lookuptest.Harness{
		New: func(testing.TB) func() core.Lookup {
			hub := memory.NewHub()
			return func() core.Lookup { return hub.Lookup() }
		},
		Level:  1,
		Settle: 5 * time.Second,
		Bubble: bubble,
	}
}

func TestLookup(t *testing.T)           { lookuptest.Run(t, lookups(true)) }
func TestLookupInRealTime(t *testing.T) { lookuptest.Run(t, lookups(false)) }
