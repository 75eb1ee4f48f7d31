package history

import "math/bits"

// latencies counts times in buckets that are a thousandth of their value wide, so that a quantile of
// any number of calls is right to that, and the greatest is exact.
type latencies struct {
	buckets []uint32
	n       int
	most    int64
}

const bucketBits = 10

func (l *latencies) add(ns int64) {
	v := uint64(max(ns, 0))
	shift := max(bits.Len64(v)-bucketBits-1, 0)
	i := shift<<bucketBits + int(v>>shift)
	for len(l.buckets) <= i {
		l.buckets = append(l.buckets, make([]uint32, 1<<bucketBits)...)
	}
	l.buckets[i]++
	l.n++
	l.most = max(l.most, ns)
}

// micros is the time that a share q of all calls did not exceed, in microseconds.
func (l *latencies) micros(q float64) float64 {
	if l.n == 0 {
		return 0
	}
	rank := int(q * float64(l.n-1))
	for i, count := range l.buckets {
		if rank -= int(count); rank < 0 {
			return float64(min(greatest(i), l.most)) / 1e3
		}
	}
	return float64(l.most) / 1e3
}

// greatest is the greatest time of a bucket.
func greatest(i int) int64 {
	shift := max(i>>bucketBits-1, 0)
	return int64(i-shift<<bucketBits+1)<<shift - 1
}
