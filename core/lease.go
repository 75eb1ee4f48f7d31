package core

import (
	"context"
	"time"
)

// MemberLeases is offered by providers whose backend can tell that a member stopped renewing. The
// engine drives it from one goroutine: it renews each TTL×0.3, and the member fences itself at
// (Clock.Elapsed taken before the renewal was sent) + TTL×0.7.
type MemberLeases interface {
	LeaseTTL() time.Duration

	// RenewLease returns nil only if the backend still listed the member when it extended the
	// lease. It blocks up to ctx. ErrEvicted is final; any other error may be tried again.
	RenewLease(ctx context.Context) error
}
