package kit

import (
	"fmt"
	"runtime"
	"time"
)

// grains is how many identities the rows of hot calls go over.
const grains = 10_000

// runForm starts width members in this process and makes a first call to another member.
func runForm(s Subject, row *Row, _ int, res *Result) error {
	m, err := begin()
	if err != nil {
		return err
	}
	c, err := s.Cluster(row.width)
	if err != nil {
		return err
	}
	if err := m.end(res, 1); err != nil {
		return err
	}
	res.set("form_ms", float64(res.WallNs)/1e6)
	first, err := c.Grain(OnOthers, "first")
	if err != nil {
		return err
	}
	start := time.Now()
	if err := first.Call(1, NewLatencies(1, 1)); err != nil {
		return fmt.Errorf("first call: %w", err)
	}
	res.set("first_call_us", float64(time.Since(start).Nanoseconds())/1e3)
	return nil
}

// runGrainCalls makes n calls from width callers, which go over active grains in turn.
func runGrainCalls(s Subject, row *Row, n int, res *Result) error {
	c, err := s.Cluster(3)
	if err != nil {
		return err
	}
	targets, err := identities(c, row.kind, "hot", grains)
	if err != nil {
		return err
	}
	if err := activate(targets, 64, nil); err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	callers := make([]Caller, row.width)
	for i := range callers {
		callers[i] = &inTurn{targets: targets, next: i * len(targets) / row.width}
	}
	return measureCalls(res, callers, n, 1)
}

// runActivations makes the first call to n identities from width callers.
func runActivations(s Subject, row *Row, n int, res *Result) error {
	c, err := s.Cluster(3)
	if err != nil {
		return err
	}
	warm, err := identities(c, row.kind, "warm", warmUp)
	if err != nil {
		return err
	}
	if err := activate(warm, row.width, nil); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	targets, err := identities(c, row.kind, "new", n)
	if err != nil {
		return err
	}
	lat := make([]*Latencies, row.width)
	for i := range lat {
		lat[i] = NewLatencies(1, n/row.width+1)
	}
	empty := inUse()
	m, err := begin()
	if err != nil {
		return err
	}
	if err := activate(targets, row.width, lat); err != nil {
		return err
	}
	if err := m.end(res, n); err != nil {
		return err
	}
	res.latencies(lat)
	res.set("bytes/activation", float64(inUse()-empty)/float64(n))
	runtime.KeepAlive(targets)
	return nil
}

// identities returns a caller for each of n grains.
func identities(c Cluster, kind Kind, prefix string, n int) ([]Caller, error) {
	all := make([]Caller, n)
	for i := range all {
		var err error
		if all[i], err = c.Grain(kind, fmt.Sprintf("%s-%d", prefix, i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// activate calls each target once, from width callers.
func activate(targets []Caller, width int, lat []*Latencies) error {
	width = min(width, len(targets))
	return together(width, func(i int) error {
		l := NewLatencies(1, 0)
		if lat != nil {
			l = lat[i]
		}
		for j := i; j < len(targets); j += width {
			if err := targets[j].Call(1, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// inTurn is a caller that goes over many targets.
type inTurn struct {
	targets []Caller
	next    int
}

// Call calls the next n targets, each once.
func (t *inTurn) Call(n int, lat *Latencies) error {
	for range n {
		if err := t.targets[t.next].Call(1, lat); err != nil {
			return err
		}
		if t.next++; t.next == len(t.targets) {
			t.next = 0
		}
	}
	return nil
}
