package core_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
)

func TestIdentityCheck(t *testing.T) {
	long := strings.Repeat
	tests := []struct {
		name      string
		kind, key string
		ok        bool
	}{
		{"plain", "Cart", "alice", true},
		{"every sign of a kind", "Az09_-.é", "k", true},
		{"major version", "Cart@2", "k", true},
		{"major version of two digits", "Cart@10", "k", true},
		{"slash in the key", "Cart", "a/b//", true},
		{"key of spaces and signs", "Cart", " {}%\\\"", true},
		{"key in UTF-8", "Cart", "日本 é 🎈", true},
		{"kind at the limit - 1", long("k", core.MaxKind-1), "k", true},
		{"kind at the limit", long("k", core.MaxKind), "k", true},
		{"kind over the limit", long("k", core.MaxKind+1), "k", false},
		{"key at the limit - 1", "Cart", long("k", core.MaxKey-1), true},
		{"key at the limit", "Cart", long("k", core.MaxKey), true},
		{"key over the limit", "Cart", long("k", core.MaxKey+1), false},
		{"key over the limit in bytes, not in letters", "Cart", long("é", core.MaxKey/2+1), false},
		{"empty kind", "", "k", false},
		{"empty key", "Cart", "", false},
		{"both empty", "", "", false},
		{"slash in the kind", "a/b", "k", false},
		{"space in the kind", "a b", "k", false},
		{"control character in the kind", "a\x01", "k", false},
		{"kind not UTF-8", "a\xff", "k", false},
		{"version alone", "@2", "k", false},
		{"version missing", "Cart@", "k", false},
		{"version zero", "Cart@0", "k", false},
		{"version with leading zero", "Cart@02", "k", false},
		{"version not a number", "Cart@v2", "k", false},
		{"version twice", "Cart@2@3", "k", false},
		{"newline in the key", "Cart", "a\nb", false},
		{"NUL in the key", "Cart", "a\x00", false},
		{"DEL in the key", "Cart", "a\x7f", false},
		{"C1 control in the key", "Cart", "a\u0085", false},
		{"control after UTF-8", "Cart", "é\t", false},
		{"key not UTF-8", "Cart", "a\xff", false},
		{"key of half a rune", "Cart", "\xe6\x97", false},
		{"key of a surrogate", "Cart", "\xed\xa0\x80", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := core.Identity{Kind: tt.kind, Key: tt.key}
			err := id.Check()
			if (err == nil) != tt.ok {
				t.Fatalf("Check: %v", err)
			}
			if err != nil && (!errors.Is(err, core.ErrInvalid) || len(err.Error()) > 800) {
				t.Errorf("%v of %d bytes, want ErrInvalid in few words", err, len(err.Error()))
			}
			if strings.Contains(tt.kind, "/") {
				return // as text it is another identity
			}
			parsed, err := core.ParseIdentity(id.String())
			if parsed != id || (err == nil) != tt.ok {
				t.Errorf("ParseIdentity(%q) = %v, %v", id.String(), parsed, err)
			}
		})
	}
}

func TestParseIdentityNeedsASlash(t *testing.T) {
	if id, err := core.ParseIdentity("Cart"); !errors.Is(err, core.ErrInvalid) || id != (core.Identity{}) {
		t.Errorf("%v, %v", id, err)
	}
}

func TestIdentityCheckDoesNotAllocate(t *testing.T) {
	id := core.Identity{Kind: "Cart", Key: "alice-in-wonderland"}
	if n := testing.AllocsPerRun(100, func() { _ = id.Check() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParseIdentity: no panic, an error that is ErrInvalid, and what is accepted keeps the rules and
// survives its text form.
func FuzzParseIdentity(f *testing.F) {
	for _, text := range []string{"Cart/alice", "Cart@2/a/b", "/", "a/", "/a", "Cart", "é/日本", "Cart@0/k", "K/\x00", "K/\xff", strings.Repeat("k", 130) + "/k"} {
		f.Add(text)
	}
	d := fuzztest.Decoder[core.Identity]{
		Decode: func(data []byte) (core.Identity, error) {
			id, err := core.ParseIdentity(string(data))
			if err != nil {
				return core.Identity{}, err // what it read of it is for the caller's message
			}
			return id, nil
		},
		Encode: func(id core.Identity) ([]byte, error) { return []byte(id.String()), nil },
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := d.Check(t, []byte(text))
		switch {
		case !ok:
		case id.String() != text:
			t.Fatalf("%q became %q", text, id.String())
		case !utf8.ValidString(text), len(id.Kind) > core.MaxKind, len(id.Key) > core.MaxKey, id.Kind == "", id.Key == "",
			strings.ContainsAny(text, "\x00\n\r\t\x7f"):
			t.Fatalf("%q was accepted", text)
		}
	})
}
