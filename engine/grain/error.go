package grain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/granary-go/granary/core"
)

// Error is how a call fails by its handler: what a grain returns and what its caller gets, in this
// process or in another. It is never modified once returned.
//
// errors.Is between two of them compares the reason if the target has one, else the code, so that
//
//	errors.Is(err, &grain.Error{Code: grain.NotFound})
//
// holds for every error of that code.
type Error struct {
	Code    Code
	Message string            // for people
	Details map[string]string // for programs; keys beginning with "granary." are reserved
	// Reason is the application's own name of the failure, such as "CART_FULL"; empty: Code is all
	// there is to say. Generated code makes constructors and predicates of an enum ErrorReason.
	Reason string

	cause  error // a sentinel of core or context, maybe with its RetryAfter; nil: none
	remote bool
}

// Errorf makes an Error. Of the errors that the format wraps, the sentinels of core, context errors
// and core.RetryAfter stay visible to errors.Is.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: causeOf(err)}
}

// NewReason makes an Error with a reason of the application's own; generated constructors call it. A
// reason that is the name of a code gives an Error of that code.
func NewReason(reason, format string, args ...any) *Error {
	code, known := CodeFromReason(reason)
	e := Errorf(code, format, args...)
	if !known {
		e.Reason = reason
	}
	return e
}

// Error is the code, the reason if there is one, and the message.
func (e *Error) Error() string {
	text := e.Code.String()
	if e.Reason != "" {
		text = e.Reason
	}
	if e.Message == "" {
		return text
	}
	return text + ": " + e.Message
}

// Is makes errors.Is compare by reason, or by code if the target has no reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	if !ok {
		return false
	}
	if t.Reason != "" {
		return t.Reason == e.Reason
	}
	return t.Code == e.Code
}

// Unwrap is the sentinel that the error carries: one of core's, context.Canceled or
// context.DeadlineExceeded; nil if there is none.
func (e *Error) Unwrap() error { return e.cause }

// ErrorOf reduces what a handler returned to what its caller may see: the *Error in its chain with
// the text of the whole chain, else the code of the sentinel that it wraps, else Unknown with its
// text. Nil stays nil. The engine calls it for local and remote calls alike.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // the chain is looked at below
		return e.local()
	}
	out := &Error{Code: CodeOf(err), Message: err.Error(), cause: causeOf(err)}
	if e, ok := errors.AsType[*Error](err); ok {
		out.Reason, out.Details = e.Reason, e.Details
	}
	return out
}

// local is e as this handler's own answer; a copy only if it came from another member.
func (e *Error) local() *Error {
	if !e.remote {
		return e
	}
	own := *e
	own.remote = false
	return &own
}

// PanicError is what the caller of a method that panicked gets: Internal, the value's text cut at
// 256 bytes, and never the stack.
func PanicError(value any) *Error {
	text := fmt.Sprint(value)
	if len(text) > 256 {
		text = text[:256] + "…"
	}
	return &Error{Code: Internal, Message: "the method panicked: " + text}
}

// CodeOf is the code of err: that of the *Error in its chain, else that of the sentinel of core or
// context it wraps, else Unknown. Nil is OK.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.code
		}
	}
	return Unknown
}

// ReasonOf is the reason of the *Error in err's chain: its own, else the name of its code, as it
// crosses the wire. Empty if err is nil; the name of CodeOf(err) if there is no *Error.
func ReasonOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Reason != "" {
		return e.Reason
	}
	return CodeOf(err).Reason()
}

// IsRemote reports whether err is the answer of a handler on another member.
func IsRemote(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.remote
}

// sentinels are the errors that survive the wire, each with its name there and its code. The order
// decides for an error that wraps several.
var sentinels = [...]struct {
	err  error
	name string
	code Code
}{
	{context.DeadlineExceeded, "deadline exceeded", DeadlineExceeded},
	{context.Canceled, "canceled", Canceled},
	{core.ErrInvalid, "invalid", InvalidArgument},
	{core.ErrUnsupported, "unsupported", Unimplemented},
	{core.ErrNotFound, "not found", NotFound},
	{core.ErrConflict, "conflict", Aborted},
	{core.ErrFenced, "fenced", Aborted},
	{core.ErrEvicted, "evicted", Unavailable},
	{core.ErrNoMember, "no member", Unavailable},
	{core.ErrNoKind, "unknown kind", Unimplemented},
	{core.ErrNotOwner, "not owner", Unavailable},
	{core.ErrBusy, "busy", Unavailable},
	{core.ErrOverloaded, "overloaded", ResourceExhausted},
	{core.ErrUnreachable, "unreachable", Unavailable},
	{core.ErrStopped, "stopped", Unavailable},
}

// SentinelName is the name on the wire of the sentinel that err wraps, such as "busy"; empty if it
// wraps none.
func SentinelName(err error) string {
	if err == nil {
		return ""
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	return ""
}

// SentinelByName is the sentinel of that name on the wire; nil if there is none.
func SentinelByName(name string) error {
	for _, s := range sentinels {
		if s.name == name {
			return s.err
		}
	}
	return nil
}

// causeOf keeps of err what survives the wire: its sentinel and its RetryAfter.
func causeOf(err error) error {
	cause := SentinelByName(SentinelName(err))
	if after, ok := core.RetryAfter(err); ok {
		return withRetry(cause, after)
	}
	return cause
}

// errLater carries a RetryAfter where there is no sentinel to put it on.
var errLater = errors.New("try again later")

func withRetry(cause error, after time.Duration) error {
	if cause == nil {
		cause = errLater
	}
	return core.Retry(cause, after)
}

// WireError is an Error as it crosses the wire: the fields of Proto.Actor's GrainErrorResponse, and
// Granary's own beside them.
type WireError struct {
	Reason     string            // the own reason, else the name of the code
	Message    string            // for people
	Metadata   map[string]string // the details
	Sentinel   string            // name of the sentinel; empty: none
	RetryAfter time.Duration     // 0: not said
}

// codeKey is the detail that carries the code of an error with a reason of its own, since the reason
// has taken the code's place.
const codeKey = "granary.code"

// Wire is e as it crosses the wire.
func (e *Error) Wire() WireError {
	w := WireError{Reason: e.Reason, Message: e.Message, Metadata: e.Details, Sentinel: SentinelName(e.cause)}
	w.RetryAfter, _ = core.RetryAfter(e)
	switch {
	case w.Reason == "":
		w.Reason = e.Code.Reason()
	case e.Code != Unknown:
		w.Metadata = maps.Clone(e.Details)
		if w.Metadata == nil {
			w.Metadata = make(map[string]string, 1)
		}
		w.Metadata[codeKey] = e.Code.Reason()
	}
	return w
}

// FromWire is the Error that w describes, as the answer of a handler on another member. It keeps
// w.Metadata.
func FromWire(w WireError) *Error {
	code, known := CodeFromReason(w.Reason)
	e := &Error{Code: code, Message: w.Message, Details: w.Metadata, remote: true, cause: SentinelByName(w.Sentinel)}
	if !known {
		e.Reason = w.Reason
	}
	if text, ok := w.Metadata[codeKey]; ok {
		if c, ok := CodeFromReason(text); ok && !known {
			e.Code = c
		}
		delete(e.Details, codeKey)
		if len(e.Details) == 0 {
			e.Details = nil
		}
	}
	if w.RetryAfter > 0 {
		e.cause = withRetry(e.cause, w.RetryAfter)
	}
	return e
}
