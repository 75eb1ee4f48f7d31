package disthash

import (
	"errors"
	"fmt"
	"time"

	"github.com/granary-go/granary/core"
)

// Config is what a deployment sets; the zero value is right for most.
type Config struct {
	// Compat places as Proto.Actor Go does, so that its members agree: FNV-1a over key and address,
	// without weights. Nothing is held when the view changes, since its members cannot be asked. It
	// goes with cluster.Config.Compat, and with a provider that promises it. Default false.
	Compat bool

	// StopParallel is how many activations are waited for at a time when they are stopped because they
	// moved or because this member leaves. Default 64: enough that some slow ones do not hold up the
	// rest.
	StopParallel int

	// HandoverTimeout is how long a new owner waits for the owner before to stop what moved. Then it
	// goes on without, and the two may overlap. Default 5 s.
	HandoverTimeout time.Duration
}

const (
	defaultStopParallel    = 64
	defaultHandoverTimeout = 5 * time.Second
)

// check completes c and joins all complaints; each wraps core.ErrInvalid.
func (c Config) check() (Config, error) {
	var errs []error
	if c.StopParallel < 0 {
		errs = append(errs, fmt.Errorf("disthash: Config.StopParallel is %d, it takes 0 (%d) or more: %w", c.StopParallel, defaultStopParallel, core.ErrInvalid))
	}
	if c.HandoverTimeout < 0 {
		errs = append(errs, fmt.Errorf("disthash: Config.HandoverTimeout is %v, it takes 0 (%v) or more: %w", c.HandoverTimeout, defaultHandoverTimeout, core.ErrInvalid))
	}
	if c.StopParallel == 0 {
		c.StopParallel = defaultStopParallel
	}
	if c.HandoverTimeout == 0 {
		c.HandoverTimeout = defaultHandoverTimeout
	}
	return c, errors.Join(errs...)
}
