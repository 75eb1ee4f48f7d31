package grain

import (
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
)

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
	e = e.portable()
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
	e := &Error{Code: code.orUnknown(), Message: w.Message, Details: w.Metadata, remote: true, cause: SentinelByName(w.Sentinel)}
	if !known {
		e.Reason = w.Reason
	}
	if text, ok := w.Metadata[codeKey]; ok {
		if c, ok := CodeFromReason(text); ok && !known {
			e.Code = c.orUnknown()
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

// The bounds of an error on its way to the caller, in bytes.
const (
	maxText    = 4 << 10
	maxReason  = 256
	maxDetails = 60 << 10
)

// Details whose keys begin with reservedPrefix are the engine's. lostKey stands in the place of
// details that are too large.
const (
	reservedPrefix = "granary."
	lostKey        = reservedPrefix + "details"
)

// replacement stands for bytes that are not UTF-8, which the wire refuses.
const replacement = "\uFFFD"

// portable is e as its caller may see it, wherever that is: e itself, unless something is to be put
// right.
func (e *Error) portable() *Error {
	code, reason := e.Code.orUnknown(), e.Reason
	if c, known := CodeFromReason(reason); known {
		code, reason = c.orUnknown(), ""
	}
	reason, message := plain(reason, maxReason), plain(e.Message, maxText)
	details := e.Details
	clean := plainDetails(details)
	if clean && !e.remote && code == e.Code && reason == e.Reason && message == e.Message {
		return e
	}
	if !clean {
		details = cleanDetails(details)
	}
	return &Error{Code: code, Message: message, Details: details, Reason: reason, cause: e.cause}
}

// plain is text as UTF-8 of at most limit bytes.
func plain(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
		for n := 1; n < utf8.UTFMax && n <= len(text); n++ { // a rune that was cut in two goes
			if r := text[len(text)-n:]; utf8.RuneStart(r[0]) {
				if !utf8.FullRuneInString(r) {
					text = text[:len(text)-n]
				}
				break
			}
		}
	}
	if utf8.ValidString(text) {
		return text
	}
	text = strings.ToValidUTF8(text, replacement)
	if len(text) > limit { // the replacement is longer than what it replaces
		return plain(text, limit)
	}
	return text
}

// plainDetails reports whether details may cross the wire as they are.
func plainDetails(details map[string]string) bool {
	size := 0
	for k, v := range details {
		if size += len(k) + len(v); size > maxDetails || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
		if strings.HasPrefix(k, reservedPrefix) && k != lostKey {
			return false
		}
	}
	return true
}

// cleanDetails is details without what is reserved, as UTF-8; if that is too large, it is lost.
func cleanDetails(details map[string]string) map[string]string {
	out := make(map[string]string, len(details))
	size := 0
	for k, v := range details {
		if strings.HasPrefix(k, reservedPrefix) {
			continue
		}
		k, v = strings.ToValidUTF8(k, replacement), strings.ToValidUTF8(v, replacement)
		if size += len(k) + len(v); size > maxDetails {
			return map[string]string{lostKey: "too large to cross the wire"}
		}
		out[k] = v
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
