package sim

import "slices"

// Shrink leaves out faults of a schedule as long as fails goes on being true of what is left: large
// parts at first, then one by one until none can go. It calls fails at most budget times.
func Shrink(s Schedule, budget int, fails func(Schedule) bool) Schedule {
	keep := s.Keep
	if keep == nil {
		for i := range s.Faults {
			keep = append(keep, i)
		}
	}
	for size := len(keep); size > 0 && budget > 0; {
		fewer := s.without(keep, size, &budget, fails)
		switch {
		case size > 1:
			size /= 2
		case len(fewer) == len(keep):
			size = 0
		}
		keep = fewer
	}
	return s.Only(keep)
}

// without leaves out runs of size places, each if it can go.
func (s Schedule) without(keep []int, size int, budget *int, fails func(Schedule) bool) []int {
	for at := 0; at < len(keep) && *budget > 0; {
		fewer := slices.Concat(keep[:at], keep[min(at+size, len(keep)):])
		*budget--
		if fails(s.Only(fewer)) {
			keep = fewer
		} else {
			at += size
		}
	}
	return keep
}
