package rendezvous

import "math/bits"

// The multipliers are those of the finaliser of MurmurHash3 (Austin Appleby, public domain) and
// 2^64 divided by the golden ratio. They are part of protocol 1 and never change.
const (
	mul1   = 0xff51afd7ed558ccd
	mul2   = 0xc4ceb9fe1a85ec53
	golden = 0x9e3779b97f4a7c15
)

// Mix spreads every bit of x over the whole word: the 64-bit finaliser of MurmurHash3. It is a
// bijection, so different inputs never meet.
func Mix(x uint64) uint64 {
	x ^= x >> 33
	x *= mul1
	x ^= x >> 33
	x *= mul2
	x ^= x >> 33
	return x
}

// String hashes s, eight bytes at a time, least significant byte first. It is the same in every
// process, build and architecture; golden vectors hold it.
func String(seed uint64, s string) uint64 {
	h := seed ^ (uint64(len(s))+1)*golden
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		h = Mix(h^w) + golden
		s = s[8:]
	}
	var w uint64
	for i := 0; i < len(s); i++ {
		w |= uint64(s[i]) << (8 * i)
	}
	return Mix(h ^ w)
}

// Combine folds b into a; the order matters.
func Combine(a, b uint64) uint64 {
	return Mix(bits.RotateLeft64(a, 23) ^ b*golden)
}
