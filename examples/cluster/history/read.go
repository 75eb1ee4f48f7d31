package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Run is everything that was recorded, sorted by time, with calls and handled requests apart.
type Run struct {
	Config  Config
	Events  []Record // all but calls and handled
	Calls   []Call
	Handled []Handling
}

// Call is one call as its caller saw it. ID indexes Run's identities by name.
type Call struct {
	Request    uint64
	Start, End int64
	ID         string
	Outcome    string
	Delivery   string
}

// Handling is one run of a handler.
type Handling struct {
	Request uint64
	Ns      int64
}

// Read reads every *.jsonl file below dir. A last line that was cut off by a kill is left out; any
// other line that cannot be read is an error that names it.
func Read(dir string) (*Run, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("history: no *.jsonl file in %s", dir)
	}
	runs, errs := make([]Run, len(files)), make([]error, len(files))
	var wait sync.WaitGroup
	for i, f := range files {
		wait.Go(func() { errs[i] = runs[i].readFile(f) })
	}
	wait.Wait()
	all := &Run{}
	for i, r := range runs {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if r.Config != (Config{}) {
			all.Config = r.Config
		}
		all.Events = append(all.Events, r.Events...)
		all.Calls = append(all.Calls, r.Calls...)
		all.Handled = append(all.Handled, r.Handled...)
	}
	if all.Config == (Config{}) {
		return nil, fmt.Errorf("history: no config record in %s: the driver did not get to the start", dir)
	}
	slices.SortStableFunc(all.Events, func(a, b Record) int { return int(min(max(a.Ns-b.Ns, -1), 1)) })
	return all, nil
}

func (r *Run) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	names := map[string]string{}
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil // the end, or a line that a kill cut off
		}
		var rec Record
		if err := json.Unmarshal(bytes.TrimSpace(line), &rec); err != nil {
			return fmt.Errorf("history: %s:%d: %w", filepath.Base(name), n, err)
		}
		r.take(rec, names)
	}
}

func (r *Run) take(rec Record, names map[string]string) {
	switch rec.Event {
	case Called:
		r.Calls = append(r.Calls, Call{rec.Request, rec.Start, rec.End, intern(names, rec.ID), intern(names, rec.Outcome), intern(names, rec.Delivery)})
	case Handled:
		r.Handled = append(r.Handled, Handling{rec.Request, rec.Ns})
	case Configured:
		if rec.Config != nil {
			r.Config = *rec.Config
		}
	default:
		r.Events = append(r.Events, rec)
	}
}

// intern keeps one copy of each text: a run has millions of calls and thousands of identities.
func intern(names map[string]string, s string) string {
	if known, ok := names[s]; ok {
		return known
	}
	names[s] = s
	return s
}
