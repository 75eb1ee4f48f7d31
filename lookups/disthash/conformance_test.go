package disthash

import (
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/lookuptest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestConformance(t *testing.T) {
	lookuptest.Run(t, lookuptest.Harness{
		New: func(t testing.TB) func() core.Lookup {
			return func() core.Lookup {
				l, err := New(Config{})
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
		},
		Bubble: true,
	})
}
