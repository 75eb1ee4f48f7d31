package core

import (
	"errors"
	"time"
)

// The sentinels. They are tested with errors.Is, also after they crossed the wire; beside each
// stands who returns it.
var (
	ErrInvalid     = errors.New("invalid")      // NewView, ParseIdentity, every New
	ErrUnsupported = errors.New("unsupported")  // cluster.New: a promise or interface is missing
	ErrNotFound    = errors.New("not found")    // Store.Get
	ErrConflict    = errors.New("conflict")     // Store, ViewStore.SwapView, Provider.Join, Host.Activate
	ErrFenced      = errors.New("fenced")       // Fencer, Host.Activate
	ErrEvicted     = errors.New("evicted")      // MemberLeases.RenewLease, Provider.Update; final
	ErrNoMember    = errors.New("no member")    // Lookup.Resolve
	ErrNoKind      = errors.New("unknown kind") // Lookup.Resolve, Host.Activate
	ErrNotOwner    = errors.New("not owner")    // Lookup.Handle, Lookup.Resolve
	ErrBusy        = errors.New("busy")         // acquiring, guard, draining, still stopping
	ErrOverloaded  = errors.New("overloaded")   // Host.Activate, any bounded queue
	ErrUnreachable = errors.New("unreachable")  // the backend or member could not be reached
	ErrStopped     = errors.New("stopped")      // anything after Stop or Leave
)

// Delivery says what is known about the fate of one request when its call fails.
type Delivery uint8

// The fates.
const (
	DeliveryUnknown Delivery = iota // the handler may have run; the zero value claims nothing
	Undelivered                     // the handler did not and will not run for this request
	Delivered                       // the handler ran; the error is its answer
)

// String is "unknown", "undelivered" or "delivered".
func (d Delivery) String() string {
	switch d {
	case Undelivered:
		return "undelivered"
	case Delivered:
		return "delivered"
	}
	return "unknown"
}

// DeliveryOf finds the outermost delivery in err's chain; without one it is DeliveryUnknown.
func DeliveryOf(err error) Delivery {
	if d, ok := errors.AsType[deliverer](err); ok {
		return d.Delivery()
	}
	return DeliveryUnknown
}

type deliverer interface {
	error
	Delivery() Delivery
}

// WithDelivery marks err; it wraps, so errors.Is still sees what is inside. Nil stays nil.
func WithDelivery(err error, d Delivery) error {
	if err == nil {
		return nil
	}
	return &marked{err, d}
}

type marked struct {
	err error
	d   Delivery
}

func (m *marked) Error() string      { return m.err.Error() }
func (m *marked) Unwrap() error      { return m.err }
func (m *marked) Delivery() Delivery { return m.d }

// Retry marks err with the time after which to try again; RetryAfter reads it back. Nil stays nil.
func Retry(err error, after time.Duration) error {
	if err == nil {
		return nil
	}
	return &retriable{err, after}
}

// RetryAfter finds the outermost time that Retry put on err's chain.
func RetryAfter(err error) (time.Duration, bool) {
	if r, ok := errors.AsType[*retriable](err); ok {
		return r.after, true
	}
	return 0, false
}

type retriable struct {
	err   error
	after time.Duration
}

func (r *retriable) Error() string { return r.err.Error() }
func (r *retriable) Unwrap() error { return r.err }
