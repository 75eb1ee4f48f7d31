package nodes

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
)

// Main runs a command that needs bubbles and exits with its code. Package testing gives them to tests
// only, so f runs as one. It sees no arguments of the command.
func Main(f func(t *testing.T) int) {
	args := os.Args
	os.Args = os.Args[:1]
	everything := func(string, string) (bool, error) { return true, nil }
	testing.Main(everything, []testing.InternalTest{{Name: "sim", F: func(t *testing.T) {
		os.Args = args
		os.Exit(f(t))
	}}}, nil, nil)
}

// bubble runs f in one and returns what went wrong with it: a panic of f, or goroutines that are left when
// it has returned. Bubbles may run side by side.
func bubble(t *testing.T, f func(t *testing.T)) (err error) {
	t.Run("bubble", func(t *testing.T) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%v", p)
			}
		}()
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
			}()
			f(t)
		})
	})
	return err
}
