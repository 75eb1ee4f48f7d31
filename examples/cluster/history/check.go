package history

import (
	"fmt"
	"slices"
	"strings"
)

// lateNs is how long after its deadline a call may end.
const lateNs = 250_000_000

// Unended is the outcome of a call that had not ended when the run did.
const Unended = "unended"

// Summary is the one object that a run prints. Times are in the unit of their names; nil means that
// it did not take place.
type Summary struct {
	Schema      int      `json:"schema"`
	OK          bool     `json:"ok"`
	Reasons     []string `json:"reasons"`
	Interrupted bool     `json:"interrupted"`
	Seed        uint64   `json:"seed"`
	Provider    string   `json:"provider"`
	Lookup      string   `json:"lookup"`
	Level       int      `json:"level"`
	Members     int      `json:"members"`
	Callers     int      `json:"callers"`
	Identities  int      `json:"identities"`
	LoadSeconds float64  `json:"loadSeconds"`

	FormSeconds *float64 `json:"formSeconds"`
	Kills       int      `json:"kills"`
	Joins       int      `json:"joins"`
	Restarts    int      `json:"restarts"`

	Calls               int   `json:"calls"`
	Replied             int   `json:"replied"`
	Failed              int   `json:"failed"`
	FailedNotDelivered  int   `json:"failedNotDelivered"`
	FailedDelivered     int   `json:"failedDelivered"`
	FailedUnknown       int   `json:"failedUnknown"`
	Untyped             int   `json:"untyped"`
	Late                int   `json:"late"`
	FailedAfterRecovery int   `json:"failedAfterRecovery"`
	ExecutedTwice       int   `json:"executedTwice"`
	IdentitiesChecked   []int `json:"identitiesChecked"`

	Activations          int `json:"activations"`
	Moved                int `json:"moved"`
	Overlaps             int `json:"overlaps"`
	DuplicateActivations int `json:"duplicateActivations"`

	DetectSeconds    *float64 `json:"detectSeconds"`
	RecoverySeconds  *float64 `json:"recoverySeconds"`
	RebalanceSeconds *float64 `json:"rebalanceSeconds"`

	CallsPerSecond float64 `json:"callsPerSecond"`
	P50Micros      float64 `json:"p50Micros"`
	P99Micros      float64 `json:"p99Micros"`
	P999Micros     float64 `json:"p999Micros"`
	MaxMicros      float64 `json:"maxMicros"`
	ProcessesLeft  int     `json:"processesLeft"`
}

// Check computes the summary of a run from its records alone. Interrupted tells that the run was cut
// short by its user, so that changes which did not come to their end are no failure.
func Check(r *Run, interrupted bool) *Summary {
	c := r.Config
	s := &Summary{Schema: 1, Reasons: []string{}, Interrupted: interrupted, Seed: c.Seed, Provider: c.Provider, Lookup: c.Lookup,
		Level: c.Level, Callers: c.Callers, Identities: c.Identities, IdentitiesChecked: []int{}}
	t := newTimeline(r.Events, c.Members)
	j := &judge{run: r, sum: s, time: t, lives: follow(r.Events, t)}
	j.processes()
	j.calls()
	j.handled()
	j.activations()
	j.changes()
	j.rates()
	s.OK = len(s.Reasons) == 0
	return s
}

// judge fills the summary, one method a subject.
type judge struct {
	run   *Run
	sum   *Summary
	time  *timeline
	lives *activations
}

func (j *judge) failf(format string, args ...any) {
	j.sum.Reasons = append(j.sum.Reasons, fmt.Sprintf(format, args...))
}

func (j *judge) processes() {
	asked := map[string]bool{}
	for _, e := range j.run.Events {
		switch e.Event {
		case Killed, Stopping:
			asked[e.Member] = true
		case Exited:
			if !asked[e.Member] {
				j.failf("member %s ended, and nobody had asked it to", e.Member)
			}
		case Left:
			j.sum.ProcessesLeft = e.Count
		}
	}
	if j.sum.ProcessesLeft > 0 {
		j.failf("%d processes were still running at the end", j.sum.ProcessesLeft)
	}
}

func (j *judge) calls() {
	s, limit := j.sum, int64(j.run.Config.TimeoutSeconds*1e9)+lateNs
	for _, c := range j.run.Calls {
		s.Calls++
		if c.End-c.Start > limit || c.Outcome == Unended {
			s.Late++
		}
		if c.Outcome == OK {
			s.Replied++
			continue
		}
		s.Failed++
		switch c.Delivery {
		case "undelivered":
			s.FailedNotDelivered++
		case "delivered":
			s.FailedDelivered++
		default:
			s.FailedUnknown++
		}
		if c.Outcome == Untyped || c.Outcome == "" {
			s.Untyped++
		}
	}
	if s.Calls == 0 && !s.Interrupted {
		j.failf("no call was made")
	}
	if s.Untyped > 0 {
		j.failf("%d calls failed with an untyped error", s.Untyped)
	}
	if s.Late > 0 {
		j.failf("%d calls ended later than 250 ms after their deadline, or never", s.Late)
	}
	if !j.run.Config.Kill && s.Failed > 0 && !s.Interrupted {
		j.failf("%d calls failed, and nobody was killed", s.Failed)
	}
}

func (j *judge) handled() {
	runs := make(map[uint64]uint8, len(j.run.Handled))
	for _, h := range j.run.Handled {
		if n := runs[h.Request]; n < 2 {
			runs[h.Request] = n + 1
			if n == 1 {
				j.sum.ExecutedTwice++
			}
		}
	}
	if j.sum.ExecutedTwice > 0 {
		j.failf("%d requests were run more than once", j.sum.ExecutedTwice)
	}
	missing := 0
	for _, c := range j.run.Calls {
		if c.Outcome == OK && runs[c.Request] == 0 {
			missing++
		}
	}
	if missing > 0 {
		j.failf("%d calls were answered that no member has run", missing)
	}
}

func (j *judge) activations() {
	s := j.sum
	s.Activations, s.Moved = j.lives.count, j.lives.moved
	s.Overlaps, s.DuplicateActivations = j.lives.overlaps, j.lives.duplicates
	if s.DuplicateActivations > 0 {
		names := j.lives.duplicateNames
		j.failf("%d identities had two activations alive at once after the members agreed: %s", len(names), strings.Join(names[:min(3, len(names))], ", "))
	}
}

// changes judges each change: agreement, every identity answering, the bound of a recovery, and
// failures after it.
func (j *judge) changes() {
	changes := j.time.changes
	for i, c := range changes {
		until := j.time.loadEnd
		if i+1 < len(changes) {
			until = changes[i+1].ns
		}
		j.change(c, until, i+1 == len(changes))
	}
	if len(changes) == 0 {
		if !j.sum.Interrupted {
			j.failf("no cluster was formed")
		}
		return
	}
	c := j.run.Config
	if !j.sum.Interrupted && (c.Kill && j.sum.Kills == 0 || c.Join && j.sum.Joins == 0 || c.Rolling && j.sum.Restarts < c.Members) {
		j.failf("the run ended before its changes took place: kills %d, joins %d, restarts %d", j.sum.Kills, j.sum.Joins, j.sum.Restarts)
	}
	j.sum.Members = j.finalMembers()
}

func (j *judge) change(c change, until int64, last bool) {
	answered, all := j.answers(c.ns, until)
	complete := answered == j.run.Config.Identities
	if excused := j.sum.Interrupted && last && !complete; excused {
		return
	}
	j.sum.IdentitiesChecked = append(j.sum.IdentitiesChecked, answered)
	subject := strings.TrimSpace(c.kind + " " + c.member)
	if c.agreed == never {
		j.failf("the members did not agree on the topology after: %s", subject)
	}
	if !complete {
		j.failf("after %s only %d of %d identities answered", subject, answered, j.run.Config.Identities)
	}
	recovered := max(all, c.agreed)
	switch c.kind {
	case "form":
		j.sum.FormSeconds = seconds(c.ns, c.agreed)
	case "kill":
		j.sum.Kills++
		j.sum.DetectSeconds = later(j.sum.DetectSeconds, seconds(c.ns, c.last))
		if complete {
			j.recovered(seconds(c.ns, all))
		}
	case "join":
		j.sum.Joins++
		if c.agreed != never {
			settled := j.lives.settled(c, until)
			j.sum.RebalanceSeconds = later(j.sum.RebalanceSeconds, seconds(c.ns, settled))
			recovered = max(recovered, settled)
		}
	case "leave", "restart":
		j.sum.Restarts++
		if complete {
			j.recovered(seconds(c.ns, all))
		}
	}
	j.failuresBetween(recovered, until)
}

func (j *judge) recovered(took *float64) {
	j.sum.RecoverySeconds = later(j.sum.RecoverySeconds, took)
	if bound := j.run.Config.RecoverySeconds; bound > 0 && *took > bound {
		j.failf("recovery took %.1f s, the bound is %.0f s", *took, bound)
	}
}

// answers counts the identities with an answered call that began in the window, and dates the last
// of them to answer for the first time.
func (j *judge) answers(from, until int64) (n int, all int64) {
	first := make(map[string]int64, j.run.Config.Identities)
	for _, c := range j.run.Calls {
		if c.Outcome != OK || c.Start < from || c.Start >= until {
			continue
		}
		if end, seen := first[c.ID]; !seen || c.End < end {
			first[c.ID] = c.End
		}
	}
	for _, end := range first {
		all = max(all, end)
	}
	return len(first), all
}

func (j *judge) failuresBetween(from, until int64) {
	n := 0
	for _, c := range j.run.Calls {
		if c.Outcome != OK && c.Start > from && c.Start < until {
			n++
		}
	}
	j.sum.FailedAfterRecovery += n
	if n > 0 && !j.sum.Interrupted {
		j.failf("%d calls failed after a change was recovered", n)
	}
}

// finalMembers is the size of the topology that the live members agreed on when the load ended.
func (j *judge) finalMembers() int {
	agreed := j.time.agreed
	if len(agreed) == 0 || j.time.loadEnd == never || agreed[len(agreed)-1].until < j.time.loadEnd {
		return 0
	}
	return j.time.atEnd
}

func (j *judge) rates() {
	s, t := j.sum, j.time
	if t.loadBeg == never {
		return
	}
	var took []int64
	var last int64
	for _, c := range j.run.Calls {
		last = max(last, c.End)
		if c.Outcome == OK && c.Start >= t.loadBeg && c.Start < t.loadEnd {
			took = append(took, c.End-c.Start)
		}
	}
	s.LoadSeconds = float64(min(t.loadEnd, max(last, t.loadBeg))-t.loadBeg) / 1e9
	if len(took) == 0 || s.LoadSeconds <= 0 {
		return
	}
	slices.Sort(took)
	micros := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e3 }
	s.CallsPerSecond = float64(len(took)) / s.LoadSeconds
	s.P50Micros, s.P99Micros, s.P999Micros, s.MaxMicros = micros(0.5), micros(0.99), micros(0.999), micros(1)
}

func seconds(from, until int64) *float64 {
	if until == never {
		return nil
	}
	s := float64(until-from) / 1e9
	return &s
}

// later is the longer of two times, either of which may not have taken place.
func later(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}
