package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// lateNs is how long after its deadline a call may end.
const lateNs = 250_000_000

// Judge computes the summary of the run whose records are in dir, from them alone. An error means
// that there is nothing to judge: no records, none of a driver, or one that cannot be read.
func Judge(dir string) (*Summary, error) { return JudgeUntil(dir, nil) }

// JudgeUntil is Judge for who cannot wait: it asks enough now and then, and once that is true reads no more.
// It then judges what needs no more than the records that were read, and the last of the reasons, which is
// none against OK, names what was not judged.
func JudgeUntil(dir string, enough func() bool) (*Summary, error) {
	return judgeSource(folder{dir, enough})
}

func judgeSource(src source) (*Summary, error) {
	var events []Record
	config := Config{}
	cut := false
	err := src.each(rare, func(r *Record) {
		if r.Config != nil {
			config = *r.Config
		}
		events = append(events, *r)
	})
	if cut = errors.Is(err, errCut); err != nil && !cut {
		return nil, err
	}
	if config == (Config{}) {
		return nil, fmt.Errorf("history: no config among the records: no driver has begun a run")
	}
	slices.SortStableFunc(events, func(a, b Record) int { return cmp.Compare(a.Ns, b.Ns) })
	t := newTimeline(events, config.Members)
	j := &judge{config: config, events: events, time: t, sum: newSummary(config), requests: requests{},
		lives: newActivations(t.ended), ids: map[string]int{}, first: make([][]int64, len(t.changes)), begun: make([][]int64, len(t.changes)), begin: never}
	j.blind = cut
	if !cut {
		err = src.each(frequent, j.take)
		if cut = errors.Is(err, errCut); err != nil && !cut {
			return nil, err
		}
	}
	if cut {
		j.partialVerdict()
	} else {
		j.verdict()
	}
	return j.sum, nil
}

// frequent are the events of which there are many: they are read as a stream.
func frequent(event string) bool {
	switch event {
	case Called, Handled, Activated, Deactivated:
		return true
	}
	return false
}

func rare(event string) bool { return !frequent(event) }

// judge fills the summary, one method a subject.
type judge struct {
	config Config
	events []Record // the rare ones, by time
	time   *timeline
	sum    *Summary

	requests requests
	lives    *activations
	latency  latencies
	failures []span         // the failed calls
	ids      map[string]int // identities that were called, by index
	first    [][]int64      // by change and identity: the end of the first answered call after it
	begun    [][]int64      // by restart: the starts of the load's calls
	begin    int64          // of the first call
	last     int64          // end of the last call
	blind    bool           // not even all of the events were read
}

func (j *judge) failf(format string, args ...any) {
	j.sum.Reasons = append(j.sum.Reasons, fmt.Sprintf(format, args...))
}

// take is one of the frequent records.
func (j *judge) take(r *Record) {
	switch r.Event {
	case Called:
		j.call(r)
	case Handled:
		if j.requests.set(r.Request, ran) {
			j.requests.set(r.Request, ranAgain)
		}
	default:
		j.lives.take(r)
	}
}

func (j *judge) call(r *Record) {
	s := j.sum
	s.Calls++
	j.begin, j.last = min(j.begin, r.Start), max(j.last, r.End)
	if i := j.time.changeAt(r.Start); i >= 0 && j.time.changes[i].kind == Restart && r.Request>>32 <= uint64(j.config.Callers) {
		j.begun[i] = append(j.begun[i], r.Start)
	}
	limit := int64(j.config.TimeoutSeconds*1e9) + lateNs
	if r.End-r.Start > limit || r.Outcome == Unended {
		s.Late++
	}
	if r.Outcome == OK {
		s.Replied++
		j.answered(r)
		return
	}
	s.Failed++
	j.failures = append(j.failures, span{r.Start, r.End})
	switch r.Delivery {
	case undelivered:
		s.FailedNotDelivered++
		j.requests.set(r.Request, refused)
	case delivered:
		s.FailedDelivered++
	default:
		s.FailedUnknown++
	}
	if r.Outcome == Untyped || r.Outcome == "" {
		s.Untyped++
	}
}

func (j *judge) answered(r *Record) {
	j.requests.set(r.Request, answered)
	if r.Start >= j.time.loadBegin && r.Start < j.time.loadEnd {
		j.latency.add(r.End - r.Start)
	}
	i := j.time.changeAt(r.Start)
	if i < 0 || r.Start < j.time.changes[i].probed {
		return
	}
	id, known := j.ids[r.ID]
	if !known {
		id = len(j.ids)
		j.ids[r.ID] = id
	}
	for len(j.first[i]) <= id {
		j.first[i] = append(j.first[i], never)
	}
	j.first[i][id] = min(j.first[i][id], r.End)
}

// verdict judges what was gathered.
func (j *judge) verdict() {
	j.sum.Interrupted = j.time.interrupted != never
	j.lives.judge(j.time)
	j.processes()
	j.calls()
	j.executions()
	j.activations()
	j.changes()
	j.end()
	j.rates()
	j.troubles()
	j.sum.OK = len(j.sum.Reasons) == 0
}

// notJudged is what a partial verdict does not tell.
const notJudged = "not judged, since the records could not all be read in the time that an interruption leaves: " +
	"whether every identity answered after each change and how soon, whether a call failed after a recovery, " +
	"whether an identity had two activations at once, whether what was answered had run; calls are those that were read, and rates are not computed"

// partialVerdict judges what a part of the records can show: what it finds to be wrong is, whatever the
// others say. The driver's own records are all there.
func (j *judge) partialVerdict() {
	s := j.sum
	s.Interrupted = j.time.interrupted != never
	j.processes()
	j.failedCalls()
	j.ranTwice()
	if !j.blind {
		for _, c := range j.time.changes {
			j.count(c, never, false)
		}
		s.Members = j.time.atEnd
	}
	if t := j.time; t.loadBegin != never && t.loadEnd != never {
		s.LoadSeconds = float64(t.loadEnd-t.loadBegin) / 1e9
	}
	j.troubles()
	s.OK = len(s.Reasons) == 0
	s.Reasons = append(s.Reasons, notJudged)
}

func (j *judge) troubles() {
	for _, e := range j.events {
		if e.Event == Trouble {
			j.failf("%s", e.Text)
		}
	}
}

func (j *judge) processes() {
	asked := map[string]bool{}
	for _, e := range j.events {
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
	if !j.time.finished {
		j.failf("the records of the driver stop before the run has ended")
	}
}

func (j *judge) calls() {
	s := j.sum
	if s.Calls == 0 && !s.Interrupted {
		j.failf("no call was made")
	}
	j.failedCalls()
}

func (j *judge) failedCalls() {
	s := j.sum
	if s.Untyped > 0 {
		j.failf("%d calls failed with an untyped error", s.Untyped)
	}
	if s.Late > 0 {
		j.failf("%d calls ended later than 250 ms after their deadline, or never", s.Late)
	}
	if j.config.Kill {
		return
	}
	if n := j.failedWithin(0, never); n > 0 {
		j.failf("%d calls failed, and nobody was to be killed", n)
	}
}

// failedWithin counts the failed calls that were begun and had failed in a piece of time: what fails
// after that may owe it to the change that came then, a kill above all. After the user has ended the
// run, calls are cancelled.
func (j *judge) failedWithin(from, until int64) (n int) {
	for _, f := range j.failures {
		if f.from > from && f.until < until && f.until <= j.time.interrupted {
			n++
		}
	}
	return n
}

func (j *judge) executions() {
	s := j.sum
	j.ranTwice()
	s.AnsweredNotRun = j.requests.count(func(ran, _, answered, _ uint64) uint64 { return answered &^ ran })
	if s.AnsweredNotRun > 0 {
		j.failf("%d calls were answered that no member has run", s.AnsweredNotRun)
	}
}

// ranTwice judges which requests ran that should not have.
func (j *judge) ranTwice() {
	s := j.sum
	s.ExecutedTwice = j.requests.count(func(_, ranAgain, _, _ uint64) uint64 { return ranAgain })
	s.RefusedButRun = j.requests.count(func(ran, _, _, refused uint64) uint64 { return refused & ran })
	if s.ExecutedTwice > 0 {
		j.failf("%d requests were run more than once", s.ExecutedTwice)
	}
	if s.RefusedButRun > 0 {
		j.failf("%d requests were run, and their callers were told that they had not been", s.RefusedButRun)
	}
}

func (j *judge) activations() {
	s := j.sum
	s.Activations, s.Moved = j.lives.count, j.lives.moved
	s.Overlaps, s.DuplicateActivations = j.lives.overlaps, j.lives.duplicates
	if names := j.lives.duplicateNames; len(names) > 0 {
		j.failf("%d identities had two activations alive at once after the members agreed: %s", len(names), strings.Join(names[:min(3, len(names))], ", "))
	}
}

func (j *judge) rates() {
	s, t := j.sum, j.time
	if t.loadBegin == never {
		return
	}
	end := t.loadEnd
	if end == never {
		end = max(j.last, t.loadBegin)
	}
	s.LoadSeconds = float64(end-t.loadBegin) / 1e9
	if j.latency.n == 0 || s.LoadSeconds <= 0 {
		return
	}
	l := &j.latency
	s.CallsPerSecond = float64(l.n) / s.LoadSeconds
	s.P50Micros, s.P99Micros, s.P999Micros, s.MaxMicros = l.micros(0.5), l.micros(0.99), l.micros(0.999), float64(l.most)/1e3
}
