package kit

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// Usage is what a process has used since its start.
type Usage struct {
	CPU    int64  `json:"cpuNs"` // user and system time, nanoseconds
	Allocs uint64 `json:"allocs"`
	Bytes  uint64 `json:"bytes"`
}

// usage reads this process's own.
func usage() (Usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return Usage{}, fmt.Errorf("getrusage: %w", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{CPU: r.Utime.Nano() + r.Stime.Nano(), Allocs: m.Mallocs, Bytes: m.TotalAlloc}, nil
}

func (u Usage) add(o Usage) Usage {
	return Usage{CPU: u.CPU + o.CPU, Allocs: u.Allocs + o.Allocs, Bytes: u.Bytes + o.Bytes}
}

func (u Usage) sub(o Usage) Usage {
	return Usage{CPU: u.CPU - o.CPU, Allocs: u.Allocs - o.Allocs, Bytes: u.Bytes - o.Bytes}
}

// meter measures one closed amount of work: wall time here, and usage of this process and of the
// children that take part.
type meter struct {
	children []*child
	before   Usage
	start    time.Time
}

// begin collects the garbage of the set-up and starts the clock.
func begin(children ...*child) (*meter, error) {
	runtime.GC()
	for _, c := range children {
		if err := c.call("gc", nil, nil); err != nil {
			return nil, err
		}
	}
	m := &meter{children: children}
	var err error
	if m.before, err = m.total(); err != nil {
		return nil, err
	}
	m.start = time.Now()
	return m, nil
}

// end stops the clock and writes the result of ops operations into res.
func (m *meter) end(res *Result, ops int) error {
	res.WallNs = time.Since(m.start).Nanoseconds()
	after, err := m.total()
	if err != nil {
		return err
	}
	used := after.sub(m.before)
	res.Ops, res.CPUNs, res.Allocs, res.Bytes = ops, used.CPU, used.Allocs, used.Bytes
	return nil
}

func (m *meter) total() (Usage, error) {
	sum, err := usage()
	if err != nil {
		return Usage{}, err
	}
	for _, c := range m.children {
		var u Usage
		if err := c.call("usage", nil, &u); err != nil {
			return Usage{}, err
		}
		sum = sum.add(u)
	}
	return sum, nil
}

// inUse is the heap and the stacks in use, after a collection.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse) + int64(m.StackInuse)
}
