package core

import (
	"errors"
	"time"
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
