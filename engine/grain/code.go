package grain

import "strconv"

// Code says in general terms why a call failed. The set and the numbers are those of gRPC.
type Code uint32

// The codes, each with its usual cause.
const (
	OK                 Code = iota // no error
	Canceled                       // the caller gave up
	Unknown                        // an error without a code: its text is all that is known
	InvalidArgument                // the argument is wrong whatever the state of the grain
	DeadlineExceeded               // the time of the call was over
	NotFound                       // what the call is about does not exist
	AlreadyExists                  // what the call would make is there already
	PermissionDenied               // the caller may not do this
	ResourceExhausted              // a limit is reached; core.RetryAfter may tell when to try again
	FailedPrecondition             // the grain is not in a state to do this; trying again does not help
	Aborted                        // a conflict with something else; the whole attempt may be repeated
	OutOfRange                     // past the valid range
	Unimplemented                  // no such kind or method
	Internal                       // a broken promise inside; a panic
	Unavailable                    // not now; trying again helps
	DataLoss                       // stored data is lost or broken
	Unauthenticated                // the caller did not prove who it is
)

// codeNames are the text for people and the reason on the wire, which is Proto.Actor's.
var codeNames = [...]struct{ text, reason string }{
	OK:                 {"ok", "OK"},
	Canceled:           {"canceled", "CANCELLED"},
	Unknown:            {"unknown", "UNKNOWN"},
	InvalidArgument:    {"invalid argument", "INVALID_ARGUMENT"},
	DeadlineExceeded:   {"deadline exceeded", "DEADLINE_EXCEEDED"},
	NotFound:           {"not found", "NOT_FOUND"},
	AlreadyExists:      {"already exists", "ALREADY_EXISTS"},
	PermissionDenied:   {"permission denied", "PERMISSION_DENIED"},
	ResourceExhausted:  {"resource exhausted", "RESOURCE_EXHAUSTED"},
	FailedPrecondition: {"failed precondition", "FAILED_PRECONDITION"},
	Aborted:            {"aborted", "ABORTED"},
	OutOfRange:         {"out of range", "OUT_OF_RANGE"},
	Unimplemented:      {"unimplemented", "UNIMPLEMENTED"},
	Internal:           {"internal", "INTERNAL"},
	Unavailable:        {"unavailable", "UNAVAILABLE"},
	DataLoss:           {"data loss", "DATA_LOSS"},
	Unauthenticated:    {"unauthenticated", "UNAUTHENTICATED"},
}

// String is the code in words, such as "not found".
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c].text
	}
	return "code " + strconv.FormatUint(uint64(c), 10)
}

// Reason is the name of the code on the wire, such as "NOT_FOUND". A code outside of the set is
// "UNKNOWN".
func (c Code) Reason() string {
	if int(c) < len(codeNames) {
		return codeNames[c].reason
	}
	return codeNames[Unknown].reason
}

// orUnknown is c, or Unknown for what no failure may have: OK, and codes outside of the set.
func (c Code) orUnknown() Code {
	if c == OK || int(c) >= len(codeNames) {
		return Unknown
	}
	return c
}

// CodeFromReason finds the code of a reason. False: it is a reason of an application's own, whose
// code is Unknown.
func CodeFromReason(reason string) (Code, bool) {
	for c := range codeNames {
		if codeNames[c].reason == reason {
			return Code(c), true
		}
	}
	return Unknown, false
}
