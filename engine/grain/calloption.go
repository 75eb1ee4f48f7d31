package grain

import "time"

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
// Keys and values together stay under 16 KiB a call; keys that begin with "granary." are reserved.
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

// JoinOptions is first followed by more. Without more it is first itself; else a new slice, so both
// may be shared.
func JoinOptions(first, more []CallOption) []CallOption {
	if len(more) == 0 {
		return first
	}
	return append(first[:len(first):len(first)], more...)
}
