package gossip

import (
	"fmt"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
)

// refusal is why something was refused. Each is a core.ErrInvalid as well.
type refusal string

func (r refusal) Error() string { return string(r) }

// Is makes every refusal a core.ErrInvalid.
func (r refusal) Is(target error) bool { return target == core.ErrInvalid }

// The reasons for which gossip and settings are refused. They are tested with errors.Is.
const (
	ErrUnknown  = refusal("unknown member")                    // sender or owner is not in the present view
	ErrBlocked  = refusal("blocked member")                    // sender or owner is blocked
	ErrForeign  = refusal("entry of another member")           // told by somebody who may not, or not as relayed
	ErrVersion  = refusal("version out of bounds")             // 0, or relayed and more than MaxJump ahead of what is known
	ErrTooMany  = refusal("too many keys")                     // more than MaxKeys
	ErrTooLarge = refusal("key, type or value over its bound") // MaxKey, MaxType, MaxValue
	ErrInvalid  = refusal("malformed gossip")                  // no message, key or type empty or not UTF-8, values out of order
)

// reasons lists the refusals in the order of Stats.Refused.
var reasons = [...]refusal{ErrUnknown, ErrBlocked, ErrForeign, ErrVersion, ErrTooMany, ErrTooLarge, ErrInvalid}

// CheckSet tells why a Set of this key and value would be refused, whatever else is set; nil if it
// would not. It is safe for concurrent use.
func CheckSet(key string, v core.Message) error {
	if why := checkValue(key, v); why != "" {
		return setError(key, why)
	}
	return nil
}

func setError(key string, why refusal) error {
	return fmt.Errorf("set gossip key %.80q: %w", key, why)
}

// checkValue tells what is wrong with a key and its value by themselves; empty: nothing.
func checkValue(key string, v core.Message) refusal {
	switch {
	case key == "" || v.Type == "":
		return ErrInvalid
	case len(key) > MaxKey || len(v.Type) > MaxType || len(v.Data) > MaxValue:
		return ErrTooLarge
	}
	if !utf8.ValidString(key) || !utf8.ValidString(v.Type) {
		return ErrInvalid
	}
	return ""
}
