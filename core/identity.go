package core

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an Identity, in bytes.
const (
	MaxKind = 128
	MaxKey  = 256
)

// Identity names one grain: a kind and a key within that kind. Comparable; safe as a map key.
type Identity struct {
	// Kind is 1 to 128 bytes of letters, digits, '_', '-', '.', and may end in "@" and a major
	// version: "Cart", "Cart@2". Another major version is another kind.
	Kind string
	Key  string // 1 to 256 bytes of UTF-8 without control characters; may contain '/'
}

// ParseIdentity reads the text form, "kind/key", and checks it. The error wraps ErrInvalid.
func ParseIdentity(text string) (Identity, error) {
	kind, key, found := strings.Cut(text, "/")
	if !found {
		return Identity{}, fmt.Errorf("identity %.80q: no '/' between kind and key: %w", text, ErrInvalid)
	}
	id := Identity{kind, key}
	return id, id.Check()
}

// String is the text form, "kind/key".
func (id Identity) String() string { return id.Kind + "/" + id.Key }

// Check tells why id cannot name a grain; nil if it can. The error wraps ErrInvalid and quotes at
// most 80 bytes of what is wrong.
func (id Identity) Check() error {
	if err := CheckKind(id.Kind); err != nil {
		return err
	}
	switch {
	case id.Key == "":
		return fmt.Errorf("identity of kind %q: the key is empty: %w", id.Kind, ErrInvalid)
	case len(id.Key) > MaxKey:
		return fmt.Errorf("identity %q/%.80q…: the key has %d bytes, the limit is %d: %w", id.Kind, id.Key, len(id.Key), MaxKey, ErrInvalid)
	case !plainKey(id.Key):
		return fmt.Errorf("identity %q/%q: the key must be UTF-8 without control characters: %w", id.Kind, id.Key, ErrInvalid)
	}
	return nil
}

// CheckKind tells why name cannot name a kind; nil if it can. The error wraps ErrInvalid.
func CheckKind(name string) error {
	base, version, versioned := strings.Cut(name, "@")
	switch {
	case name == "":
		return fmt.Errorf("kind: the name is empty: %w", ErrInvalid)
	case len(name) > MaxKind:
		return fmt.Errorf("kind %.80q…: %d bytes, the limit is %d: %w", name, len(name), MaxKind, ErrInvalid)
	case base == "" || strings.IndexFunc(base, notKindRune) >= 0:
		return fmt.Errorf("kind %q: only letters, digits, '_', '-' and '.', and then '@' and a major version: %w", name, ErrInvalid)
	case versioned && !majorVersion(version):
		return fmt.Errorf("kind %q: after '@' comes a major version, a number without leading zeros: %w", name, ErrInvalid)
	}
	return nil
}

func notKindRune(r rune) bool {
	return r != '_' && r != '-' && r != '.' && (r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsDigit(r))
}

func majorVersion(v string) bool {
	return v != "" && v[0] != '0' && strings.Trim(v, "0123456789") == ""
}

// plainKey is on the path of every call, so ASCII is judged byte by byte.
func plainKey(key string) bool {
	ascii := true
	for i := 0; i < len(key); i++ {
		c := key[i]
		if c < ' ' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(key) && strings.IndexFunc(key, unicode.IsControl) < 0
}
