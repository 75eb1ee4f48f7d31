package kit

import "fmt"

// Result is the one line of JSON that a program prints for a row.
type Result struct {
	Row    string             `json:"row"`
	Ops    int                `json:"ops"`
	WallNs int64              `json:"wallNs"`
	CPUNs  int64              `json:"cpuNs"` // of the process and of the children that take part
	Allocs uint64             `json:"allocs"`
	Bytes  uint64             `json:"bytes"`
	Extra  map[string]float64 `json:"extra,omitempty"` // by name with unit: p50_us, bytes/actor
	Note   string             `json:"note,omitempty"`
	Error  string             `json:"error,omitempty"` // what failed; the figures then mean nothing
}

// set adds an extra figure.
func (r *Result) set(name string, value float64) {
	if r.Extra == nil {
		r.Extra = map[string]float64{}
	}
	r.Extra[name] = value
}

// latencies adds the percentiles of the samples, if there are any.
func (r *Result) latencies(all []*Latencies) {
	if p50, p99, ok := percentiles(all); ok {
		r.set("p50_us", p50)
		r.set("p99_us", p99)
	}
}

// Check returns an error unless r is the complete result of the row.
func (r *Result) Check(row string) error {
	switch {
	case r.Error != "":
		return fmt.Errorf("%s", r.Error)
	case r.Row != row:
		return fmt.Errorf("program answered for row %q", r.Row)
	case r.Ops <= 0 || r.WallNs <= 0 || r.CPUNs < 0:
		return fmt.Errorf("incomplete result: %d ops, wall %d ns, cpu %d ns", r.Ops, r.WallNs, r.CPUNs)
	}
	return nil
}
