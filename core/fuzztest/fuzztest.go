// Package fuzztest is what must hold for a decoder of bytes that came from elsewhere. A fuzz target
// calls it with each input.
//
// It imports the standard library only.
package fuzztest

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/granary-go/granary/core"
)

// Decoder is a decoder under test. It has no state, and may be copied.
type Decoder[T any] struct {
	// Decode is what is tested. It may keep parts of data, and may not write to it.
	Decode func(data []byte) (T, error)

	// Encode writes a value that Decode has accepted. Nil: nobody writes such values, so nothing
	// but Decode itself is tested.
	Encode func(v T) ([]byte, error)

	// Equal compares a value with what came back of it. Nil: reflect.DeepEqual.
	Equal func(a, b T) bool

	// Errors are the sentinels of which each error wraps one. None: core.ErrInvalid.
	Errors []error
}

// Bounds of what a decoder may do for an input.
const (
	perByte   = 8        // bytes allocated for each byte of the input,
	perInput  = 64 << 10 // beside these
	maxError  = 4 << 10  // bytes of the text of an error
	attempts  = 5        // measurements, of which the least counts: other goroutines allocate as well
	errorText = 200      // bytes of an input that a failure shows
)

// Check decodes data and fails t unless the decoder allocated at most 8 times its length and 64 KiB,
// left it as it was, and either refused it with one of Errors and the zero value, or gave a value that
// comes back equal from its encoded form, which in turn does not change on a second trip. It returns
// the value; ok is false if it was refused. A panic of the decoder is the test's.
func (d Decoder[T]) Check(t testing.TB, data []byte) (v T, ok bool) {
	t.Helper()
	given := bytes.Clone(data)
	v, err := d.frugal(t, data)
	switch {
	case !bytes.Equal(given, data):
		t.Fatalf("the decoder changed its input %.*q", errorText, given)
	case err != nil:
		d.checkRefusal(t, v, err)
		return v, false
	case d.Encode != nil:
		d.checkTrip(t, v)
	}
	return v, true
}

// frugal decodes data and measures what that allocates.
func (d Decoder[T]) frugal(t testing.TB, data []byte) (v T, err error) {
	t.Helper()
	limit := uint64(perByte*len(data) + perInput)
	var used uint64
	for range attempts {
		used = allocated(func() { v, err = d.Decode(data) })
		if used <= limit {
			return v, err
		}
	}
	t.Fatalf("%d bytes allocated for %d of input, the limit is %d: %.*q", used, len(data), limit, errorText, data)
	return v, err
}

// allocated is how many bytes f allocates, by the counter of the whole process.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func (d Decoder[T]) checkRefusal(t testing.TB, v T, err error) {
	t.Helper()
	sentinels := d.Errors
	if len(sentinels) == 0 {
		sentinels = []error{core.ErrInvalid}
	}
	typed := false
	for _, s := range sentinels {
		typed = typed || errors.Is(err, s)
	}
	switch {
	case !typed:
		t.Fatalf("the error %.*q wraps none of %q", errorText, err.Error(), sentinels)
	case len(err.Error()) > maxError:
		t.Fatalf("an error of %d bytes, the limit is %d", len(err.Error()), maxError)
	case !reflect.ValueOf(&v).Elem().IsZero():
		t.Fatalf("%+v beside the error %v", v, err)
	}
}

func (d Decoder[T]) checkTrip(t testing.TB, v T) {
	t.Helper()
	equal := d.Equal
	if equal == nil {
		equal = func(a, b T) bool { return reflect.DeepEqual(a, b) }
	}
	first, err := d.Encode(v)
	if err != nil {
		t.Fatalf("what was read, %+v, cannot be written: %v", v, err)
	}
	back, err := d.Decode(first)
	if err != nil {
		t.Fatalf("what was written, %.*q, cannot be read: %v", errorText, first, err)
	}
	if !equal(v, back) {
		t.Fatalf("%+v came back as %+v", v, back)
	}
	second, err := d.Encode(back)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("a second trip makes %.*q of %.*q: %v", errorText, second, errorText, first, err)
	}
}
