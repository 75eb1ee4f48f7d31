package convert

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"github.com/granary-go/granary/core"
)

const (
	shortDigits   = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	shortLength   = 22
	processDigits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ~+"
	processPrefix = "$"
)

// ShortUUID writes 128 bits as Proto.Actor writes the ID of an actor system: 22 digits of base 57
// that leave out what people confuse, the most significant first.
func ShortUUID(id [16]byte) string {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	var text [shortLength]byte
	for i := shortLength - 1; i >= 0; i-- {
		var digit uint64
		hi, digit = hi/57, hi%57
		lo, digit = bits.Div64(digit, lo, 57)
		text[i] = shortDigits[digit]
	}
	return string(text[:])
}

// ParseShortUUID reads what ShortUUID wrote. The error wraps core.ErrInvalid.
func ParseShortUUID(text string) ([16]byte, error) {
	var id [16]byte
	bad := func(why string) ([16]byte, error) {
		return [16]byte{}, fmt.Errorf("short UUID %.80q: %s: %w", text, why, core.ErrInvalid)
	}
	if len(text) != shortLength {
		return bad("it must have 22 digits")
	}
	var hi, lo uint64
	for i := range len(text) {
		digit := strings.IndexByte(shortDigits, text[i])
		if digit < 0 {
			return bad("it has a digit outside base 57")
		}
		var ok bool
		if hi, lo, ok = shiftIn(hi, lo, uint64(digit)); !ok {
			return bad("it is more than 128 bits")
		}
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, nil
}

// shiftIn appends one digit of base 57 to a number of 128 bits; false if it no longer fits.
func shiftIn(hi, lo, digit uint64) (uint64, uint64, bool) {
	carry, lo := bits.Mul64(lo, 57)
	over, hi := bits.Mul64(hi, 57)
	lo, c := bits.Add64(lo, digit, 0)
	hi, c = bits.Add64(hi, carry, c)
	return hi, lo, over == 0 && c == 0
}

// ProcessID writes the number of a process as Proto.Actor names it: a dollar sign and digits of
// base 64, the most significant first, at least one.
func ProcessID(n uint64) string {
	var text [12]byte
	i := len(text)
	for {
		i--
		text[i] = processDigits[n%64]
		if n /= 64; n == 0 {
			break
		}
	}
	return processPrefix + string(text[i:])
}

// ParseProcessID reads what ProcessID wrote. The error wraps core.ErrInvalid.
func ParseProcessID(text string) (uint64, error) {
	digits, found := strings.CutPrefix(text, processPrefix)
	if !found || digits == "" || len(digits) > 1 && digits[0] == processDigits[0] {
		return 0, fmt.Errorf("process ID %.80q: want %q and digits without leading zeros: %w", text, processPrefix, core.ErrInvalid)
	}
	var n uint64
	for i := range len(digits) {
		digit := strings.IndexByte(processDigits, digits[i])
		if digit < 0 || n >= 1<<58 {
			return 0, fmt.Errorf("process ID %.80q: not a number of 64 bits in base 64: %w", text, core.ErrInvalid)
		}
		n = n<<6 | uint64(digit)
	}
	return n, nil
}
