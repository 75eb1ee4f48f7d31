package harness

import "slices"

// Spread is what the rounds of one figure come to.
type Spread struct{ Median, Min, Max float64 }

// NewSpread returns the spread of the values; all zero if there are none.
func NewSpread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	mid := len(s) / 2
	median := s[mid]
	if len(s)%2 == 0 {
		median = (s[mid-1] + s[mid]) / 2
	}
	return Spread{Median: median, Min: s[0], Max: s[len(s)-1]}
}

// ratio is how many times a is b; 0 if it cannot be told.
func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}
