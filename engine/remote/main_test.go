package remote

import (
	"os"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimVar) != "" {
		beVictim()
		return
	}
	leaktest.Main(m)
}
