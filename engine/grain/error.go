package grain

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	Message string            // for people; a caller gets up to 4 KiB of it
	Details map[string]string // for programs, up to 60 KiB; keys beginning with "granary." are reserved
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
	if e == nil {
		return "a nil *grain.Error"
	}
	text := e.Code.String()
	switch e.Reason {
	case "":
	case ReasonCycle:
		text = "call cycle" // the engine's own reason, in words
	default:
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
	if !ok || e == nil || t == nil {
		return ok && e == t
	}
	if t.Reason != "" {
		return t.Reason == e.Reason
	}
	return t.Code == e.Code
}

// Unwrap is the sentinel that the error carries: one of core's, context.Canceled or
// context.DeadlineExceeded; nil if there is none.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.cause
}

// find is the *Error in err's chain. A nil one, which a handler may return by mistake, says nothing.
func find(err error) (*Error, bool) {
	e, ok := errors.AsType[*Error](err)
	return e, ok && e != nil
}

// ErrorOf reduces what a handler returned to what its caller may see: the *Error in its chain with
// the text of the whole chain, else the code of the sentinel that it wraps, else Unknown with its
// text. What cannot cross the wire is cut or put right, so that a local caller sees the same: texts
// are UTF-8 and bounded, reserved details go, a code outside of the set is Unknown. Nil stays nil.
// The engine calls it for local and remote calls alike.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok && e != nil { //nolint:errorlint // the chain is looked at below
		return e.portable()
	}
	out := &Error{Code: CodeOf(err), Message: err.Error(), cause: causeOf(err)}
	if e, ok := find(err); ok {
		out.Reason, out.Details = e.Reason, e.Details
		// The code stands before the message anyway: a second time would say nothing.
		if before, found := strings.CutSuffix(out.Message, e.Error()); found && (before == "" || e.Message != "") {
			out.Message = before + e.Message
		}
	}
	return out.portable()
}

// PanicError is what the caller of a method that panicked gets: Internal, the value's text cut at
// 256 bytes, and never the stack.
func PanicError(value any) *Error { return PanicIn("the method", value) }

// PanicIn is PanicError for other code than a method, such as "the hook Activate". A nil value stands
// for code that ended its goroutine, by runtime.Goexit: no panic has that value.
func PanicIn(what string, value any) *Error {
	if value == nil {
		return &Error{Code: Internal, Message: what + " ended its goroutine (runtime.Goexit) instead of returning"}
	}
	text := fmt.Sprint(value)
	if len(text) > 256 {
		text = text[:256] + "…"
	}
	return &Error{Code: Internal, Message: what + " panicked: " + strings.ToValidUTF8(text, replacement)}
}

// CodeOf is the code of err: that of the *Error in its chain, else that of the sentinel of core or
// context it wraps, else Unknown. Nil is OK.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := find(err); ok {
		return e.Code.orUnknown()
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
	if e, ok := find(err); ok && e.Reason != "" {
		return e.Reason
	}
	return CodeOf(err).Reason()
}

// IsRemote reports whether err is the answer of a handler on another member.
func IsRemote(err error) bool {
	e, ok := find(err)
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
