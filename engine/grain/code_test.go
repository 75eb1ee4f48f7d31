package grain_test

import (
	"testing"

	"github.com/granary-go/granary/engine/grain"
)

// The reasons are Proto.Actor's, in the order of gRPC's numbers.
func TestCodeReasons(t *testing.T) {
	reasons := []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
	for number, reason := range reasons {
		c := grain.Code(number)
		if c.Reason() != reason {
			t.Errorf("reason of code %d is %q, want %q", number, c.Reason(), reason)
		}
		if back, ok := grain.CodeFromReason(reason); !ok || back != c {
			t.Errorf("code of %q is %v, %v", reason, back, ok)
		}
	}
	if grain.Unauthenticated != grain.Code(len(reasons)-1) {
		t.Errorf("the last code is %d", grain.Unauthenticated)
	}
	if c, ok := grain.CodeFromReason("CART_FULL"); ok || c != grain.Unknown {
		t.Errorf("code of a reason of an application's own: %v, %v", c, ok)
	}
	if got := grain.Code(99); got.String() != "code 99" || got.Reason() != "UNKNOWN" {
		t.Errorf("code 99 is %q, %q", got, got.Reason())
	}
	if got := grain.DeadlineExceeded.String(); got != "deadline exceeded" {
		t.Errorf("DeadlineExceeded is %q", got)
	}
}
