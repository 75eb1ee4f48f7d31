package remote

import (
	"runtime"
	"runtime/metrics"
)

// allocated is how many bytes f allocates. The runtime counts whole spans at the moment it takes one, which
// may be more than 64 KiB for one object, and counts other goroutines too: of several runs the least is
// nearest. f is run again only where the first count is large.
func allocated(f func()) uint64 {
	least := once(f)
	for i := 0; i < 4 && least > 16<<10; i++ {
		least = min(least, once(f))
	}
	return least
}

func once(f func()) uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	before := s[0].Value.Uint64()
	f()
	metrics.Read(s)
	return s[0].Value.Uint64() - before
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
