package grain

import (
	"fmt"
	"strings"
	"time"

	"github.com/granary-go/granary/core"
)

// CallOption changes one call. The set is closed: Timeout, Header, Idempotent, RetryOverloaded.
type CallOption struct {
	set        option
	key, value string
	time       time.Duration
}

type option uint8

const (
	optionTimeout option = iota + 1
	optionHeader
	optionIdempotent
	optionRetryOverloaded
)

// Timeout bounds the whole call, tries and waits included; an earlier end of ctx still holds. Zero
// and negative times change nothing. The last one counts.
func Timeout(d time.Duration) CallOption { return CallOption{set: optionTimeout, time: d} }

// Header sends a header along; the handler reads it by Turn.Header. The last value of a key counts.
// A call with more than 64 of them, with more than 16 KiB of keys and values together (Config.Limits of a
// node changes both), with a key that begins with "granary.", which is reserved, or with text that is not
// UTF-8 is refused as InvalidArgument, to a grain of the same member as to another.
func Header(key, value string) CallOption {
	return CallOption{set: optionHeader, key: key, value: value}
}

// Idempotent says that the method may run twice for this call, so that it is tried again also when
// it is not known whether it ran.
func Idempotent() CallOption { return CallOption{set: optionIdempotent} }

// RetryOverloaded has the call wait and try again, within its time, when the target refuses with
// core.ErrOverloaded. Otherwise that error is returned at once.
func RetryOverloaded() CallOption { return CallOption{set: optionRetryOverloaded} }

// Options is what the options of a call add up to.
type Options struct {
	Timeout         time.Duration     // 0: not said
	Headers         map[string]string // nil: none; never modified
	Idempotent      bool
	RetryOverloaded bool
}

// ResolveOptions adds up opts. It allocates only for headers.
func ResolveOptions(opts []CallOption) Options {
	var out Options
	for i := range opts {
		switch o := &opts[i]; o.set {
		case optionTimeout:
			if o.time > 0 {
				out.Timeout = o.time
			}
		case optionHeader:
			if out.Headers == nil {
				out.Headers = make(map[string]string)
			}
			out.Headers[o.key] = o.value
		case optionIdempotent:
			out.Idempotent = true
		case optionRetryOverloaded:
			out.RetryOverloaded = true
		}
	}
	return out
}

// CheckHeaders refuses keys that are reserved. The error wraps core.ErrInvalid. The engine calls it.
func CheckHeaders(headers map[string]string) error {
	for key := range headers {
		if strings.HasPrefix(key, reservedPrefix) {
			return fmt.Errorf("header %q: keys that begin with %q are reserved, take another: %w", key, reservedPrefix, core.ErrInvalid)
		}
	}
	return nil
}

// JoinOptions is first followed by more. Without more it is first itself; else a new slice, so both
// may be shared.
func JoinOptions(first, more []CallOption) []CallOption {
	if len(more) == 0 {
		return first
	}
	return append(first[:len(first):len(first)], more...)
}
