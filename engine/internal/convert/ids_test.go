package convert_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
)

func TestParseShortUUIDRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text string }{
		{"empty", ""},
		{"a digit too few", strings.Repeat("2", 21)},
		{"a digit too many", strings.Repeat("2", 23)},
		{"a digit outside", strings.Repeat("2", 21) + "0"},
		{"one more than the greatest", "oZEq7ovRbLq6UnGMPwc8B6"},
		{"the greatest text", strings.Repeat("z", 22)},
		{"not ASCII", strings.Repeat("é", 11)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if id, err := convert.ParseShortUUID(tc.text); !errors.Is(err, core.ErrInvalid) || id != [16]byte{} {
				t.Errorf("ParseShortUUID(%q) = %x, %v, want %v", tc.text, id, err, core.ErrInvalid)
			}
		})
	}
}

func TestParseProcessIDRefuses(t *testing.T) {
	for _, text := range []string{"", "$", "1", "$01", "$ ", "$é", "future$1", "$g00000000000", "$" + strings.Repeat("+", 12)} {
		if n, err := convert.ParseProcessID(text); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("ParseProcessID(%q) = %d, %v, want %v", text, n, err, core.ErrInvalid)
		}
	}
}

func TestProcessIDBounds(t *testing.T) {
	for _, n := range []uint64{0, 1, 63, 64, math.MaxUint32, 1 << 60, math.MaxUint64} {
		id := convert.ProcessID(n)
		if got, err := convert.ParseProcessID(id); err != nil || got != n {
			t.Errorf("ParseProcessID(%q) = %d, %v, want %d", id, got, err, n)
		}
	}
}

func FuzzShortUUID(f *testing.F) {
	f.Add("oZEq7ovRbLq6UnGMPwc8B5")
	f.Add("zzzzzzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, text string) {
		var id [16]byte
		var err error
		frugal(t, []byte(text), func() { id, err = convert.ParseShortUUID(text) })
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if again := convert.ShortUUID(id); again != text {
			t.Fatalf("%q reads as %x, which writes as %q", text, id, again)
		}
	})
}

func ExampleShortUUID() {
	fmt.Println(convert.ShortUUID([16]byte{15: 57}))
	// Output: 2222222222222222222232
}

func ExampleProcessID() {
	fmt.Println(convert.ProcessID(1), convert.ProcessID(64))
	// Output: $1 $10
}
