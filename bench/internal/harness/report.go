package harness

import (
	"fmt"
	"strings"

	"github.com/granary-go/granary/bench/kit"
)

// Report is the JSON object of the benchmark. Fields may be added, never renamed.
type Report struct {
	Schema      int         `json:"schema"`
	OK          bool        `json:"ok"`
	Interrupted bool        `json:"interrupted"`
	AllocsOK    bool        `json:"allocsOK"`
	CPU         string      `json:"cpu"`
	Go          string      `json:"go"`
	Peer        string      `json:"peer"`
	Rounds      int         `json:"rounds"`
	Seconds     float64     `json:"seconds"`
	Rows        []RowReport `json:"rows"`
	Error       string      `json:"error,omitempty"` // nothing could be run
	Reasons     []string    `json:"reasons"`         // why it is not ok: empty if it is
}

// RowReport is one row of a [Report]. Ratios are peer ÷ Granary: above 1 Granary is ahead.
type RowReport struct {
	Row        string  `json:"row"`
	Metric     string  `json:"metric"`
	Granary    float64 `json:"granary"` // medians over the rounds
	GranaryMin float64 `json:"granaryMin"`
	GranaryMax float64 `json:"granaryMax"`
	Peer       float64 `json:"peer"`
	PeerMin    float64 `json:"peerMin"`
	PeerMax    float64 `json:"peerMax"`
	RatioWall  float64 `json:"ratioWall"`
	RatioCPU   float64 `json:"ratioCPU"`
	GranaryCPU float64 `json:"granaryCPU"` // ns per operation, user and system, all processes
	PeerCPU    float64 `json:"peerCPU"`
	Allocs     float64 `json:"allocs"` // per operation, all processes
	PeerAllocs float64 `json:"peerAllocs"`
	AllocsOK   bool    `json:"allocsOK"`
	Bytes      float64 `json:"bytes"` // allocated per operation, all processes
	PeerBytes  float64 `json:"peerBytes"`
	Floor      float64 `json:"floor"`
	OK         bool    `json:"ok"`
	Notes      string  `json:"notes"`
	// Extra holds further figures by name with unit (p50_us, bytes/actor): medians of both sides.
	Extra map[string]Pair `json:"extra,omitempty"`
}

// Pair is one figure of both sides.
type Pair struct {
	Granary float64 `json:"granary"`
	Peer    float64 `json:"peer"`
}

// Sample is what the rounds of one row gave.
type Sample struct {
	Granary, Peer []kit.Result
	Err           error // why the row has no more of them
}

// freeOfAllocations are the rows whose bar is 0 allocations, not the peer's number.
var freeOfAllocations = map[string]bool{"tell1": true, "tell4": true, "ask1": true, "ask64": true}

// zeroAllocs is what counts as 0 per operation: the whole run allocates a little, whatever its size.
const zeroAllocs = 0.005

// NewRowReport computes a row from its samples. A row that did not finish all rounds on both sides
// is not ok.
func NewRowReport(row kit.Row, floor float64, rounds int, s Sample) RowReport {
	r := RowReport{Row: row.Name, Metric: row.Metric, Floor: floor}
	own, peer := spread(s.Granary, figure(row)), spread(s.Peer, figure(row))
	r.Granary, r.GranaryMin, r.GranaryMax = own.Median, own.Min, own.Max
	r.Peer, r.PeerMin, r.PeerMax = peer.Median, peer.Min, peer.Max
	r.GranaryCPU, r.PeerCPU = spread(s.Granary, cpuPerOp).Median, spread(s.Peer, cpuPerOp).Median
	r.Allocs, r.PeerAllocs = spread(s.Granary, allocsPerOp).Median, spread(s.Peer, allocsPerOp).Median
	r.Bytes, r.PeerBytes = spread(s.Granary, bytesPerOp).Median, spread(s.Peer, bytesPerOp).Median
	r.RatioWall, r.RatioCPU = ratio(r.Peer, r.Granary), ratio(r.PeerCPU, r.GranaryCPU)
	r.Extra = extras(row, s)
	complete := s.Err == nil && len(s.Granary) == rounds && len(s.Peer) == rounds
	r.OK = complete && max(r.RatioWall, r.RatioCPU) >= floor
	r.AllocsOK = complete && allocsHeld(row.Name, r.Allocs, r.PeerAllocs)
	r.Notes = strings.Join(notes(s, complete, r), "; ")
	return r
}

func allocsHeld(row string, own, peer float64) bool {
	if freeOfAllocations[row] {
		return own < zeroAllocs
	}
	return own <= peer+zeroAllocs
}

// figure returns what a row is judged by.
func figure(row kit.Row) func(kit.Result) float64 {
	if row.Metric == "ns/op" {
		return func(r kit.Result) float64 { return float64(r.WallNs) / float64(r.Ops) }
	}
	return func(r kit.Result) float64 { return r.Extra[row.Metric] }
}

func cpuPerOp(r kit.Result) float64    { return float64(r.CPUNs) / float64(r.Ops) }
func allocsPerOp(r kit.Result) float64 { return float64(r.Allocs) / float64(r.Ops) }
func bytesPerOp(r kit.Result) float64  { return float64(r.Bytes) / float64(r.Ops) }

func spread(results []kit.Result, of func(kit.Result) float64) Spread {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = of(r)
	}
	return NewSpread(values)
}

// extras returns the further figures that both sides gave.
func extras(row kit.Row, s Sample) map[string]Pair {
	if len(s.Granary) == 0 || len(s.Peer) == 0 {
		return nil
	}
	pairs := map[string]Pair{}
	for name := range s.Granary[0].Extra {
		if name == row.Metric {
			continue
		}
		of := func(r kit.Result) float64 { return r.Extra[name] }
		pairs[name] = Pair{spread(s.Granary, of).Median, spread(s.Peer, of).Median}
	}
	return pairs
}

func notes(s Sample, complete bool, r RowReport) []string {
	var all []string
	for _, side := range [][]kit.Result{s.Granary, s.Peer} {
		if len(side) > 0 && side[0].Note != "" {
			all = append(all, side[0].Note)
		}
	}
	switch {
	case s.Err != nil:
		all = append(all, "error: "+s.Err.Error())
	case !complete:
		all = append(all, "error: not all rounds were run")
	case !r.AllocsOK:
		all = append(all, fmt.Sprintf("allocations above the bar: %.2f, peer %.2f", r.Allocs, r.PeerAllocs))
	}
	return all
}
