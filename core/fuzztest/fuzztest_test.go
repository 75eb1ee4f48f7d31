package fuzztest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// good reads one digit.
func good() fuzztest.Decoder[int] {
	return fuzztest.Decoder[int]{
		Decode: func(data []byte) (int, error) {
			if len(data) != 1 || data[0] < '0' || data[0] > '9' {
				return 0, fmt.Errorf("%.10q is no digit: %w", data, core.ErrInvalid)
			}
			return int(data[0] - '0'), nil
		},
		Encode: func(v int) ([]byte, error) { return []byte{byte('0' + v)}, nil },
	}
}

// recorder is a testing.TB that keeps the first failure.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	panic(r)
}

// failure is what Check complains of; empty: nothing.
func failure(t *testing.T, d fuzztest.Decoder[int], data string) string {
	r := &recorder{TB: t}
	func() {
		defer func() {
			if v := recover(); v != nil && v != any(r) {
				panic(v)
			}
		}()
		d.Check(r, []byte(data))
	}()
	return r.failure
}

func TestCheck(t *testing.T) {
	var kept []byte
	for name, tc := range map[string]struct {
		change func(d *fuzztest.Decoder[int])
		data   string
		want   string // part of the failure; empty: none
	}{
		"accepted":          {func(*fuzztest.Decoder[int]) {}, "7", ""},
		"refused":           {func(*fuzztest.Decoder[int]) {}, "x", ""},
		"no encoder":        {func(d *fuzztest.Decoder[int]) { d.Encode = nil }, "7", ""},
		"another sentinel":  {func(d *fuzztest.Decoder[int]) { d.Errors = []error{core.ErrBusy, core.ErrInvalid} }, "x", ""},
		"not that sentinel": {func(d *fuzztest.Decoder[int]) { d.Errors = []error{core.ErrBusy} }, "x", "wraps none"},
		"an untyped error":  {func(d *fuzztest.Decoder[int]) { d.Decode = result(0, errors.New("x")) }, "x", "wraps none"},
		"a value beside":    {func(d *fuzztest.Decoder[int]) { d.Decode = result(1, core.ErrInvalid) }, "x", "beside the error"},
		"an endless error":  {func(d *fuzztest.Decoder[int]) { d.Decode = result(0, long()) }, "x", "an error of"},
		"too much allocated": {func(d *fuzztest.Decoder[int]) {
			d.Decode = func([]byte) (int, error) { kept = make([]byte, 1<<20); return 1, nil }
		}, "7", "allocated for 1 of input"},
		"the input changed":   {func(d *fuzztest.Decoder[int]) { d.Decode = func(b []byte) (int, error) { b[0] = '1'; return 1, nil } }, "7", "changed its input"},
		"cannot be written":   {func(d *fuzztest.Decoder[int]) { d.Encode = written("", core.ErrInvalid) }, "7", "cannot be written"},
		"cannot be read back": {func(d *fuzztest.Decoder[int]) { d.Encode = written("xx", nil) }, "7", "cannot be read"},
		"comes back changed":  {func(d *fuzztest.Decoder[int]) { d.Encode = written("5", nil) }, "7", "came back as"},
		"equal by its rule": {func(d *fuzztest.Decoder[int]) {
			d.Encode, d.Equal = written("5", nil), func(int, int) bool { return true }
		}, "7", ""},
		"never settles": {func(d *fuzztest.Decoder[int]) {
			n := 0
			d.Encode = func(int) ([]byte, error) { n++; return []byte{byte('0' + n)}, nil }
			d.Equal = func(int, int) bool { return true }
		}, "7", "a second trip"},
	} {
		d := good()
		tc.change(&d)
		if got := failure(t, d, tc.data); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	_ = kept
}

func TestCheckReturnsTheValue(t *testing.T) {
	if v, ok := good().Check(t, []byte("7")); v != 7 || !ok {
		t.Errorf("%d, %v", v, ok)
	}
	if v, ok := good().Check(t, []byte("x")); v != 0 || ok {
		t.Errorf("%d, %v", v, ok)
	}
}

func result(v int, err error) func([]byte) (int, error) {
	return func([]byte) (int, error) { return v, err }
}

func written(text string, err error) func(int) ([]byte, error) {
	return func(int) ([]byte, error) { return []byte(text), err }
}

func long() error { return fmt.Errorf("%s: %w", strings.Repeat("x", 1<<16), core.ErrInvalid) }
