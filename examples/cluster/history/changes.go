package history

// changes judges each change: agreement, every identity answering, the bound of a recovery, and
// failures after it.
func (j *judge) changes() {
	for i := range j.time.changes {
		j.change(i)
	}
	if j.sum.Interrupted {
		return
	}
	s, c := j.sum, j.config
	switch {
	case len(j.time.changes) == 0:
		j.failf("no cluster was formed")
	case c.Kill && s.Kills == 0 || c.Join && s.Joins == 0 || c.Rolling && s.Restarts < c.Members-s.Kills:
		j.failf("the run ended before its changes took place: kills %d, joins %d, restarts %d", s.Kills, s.Joins, s.Restarts)
	}
}

func (j *judge) change(i int) {
	c, until := j.time.changes[i], j.time.until(i)
	n, all := j.answers(i)
	complete := n == j.config.Identities
	if j.cutShort(i) && (!complete || c.agreed == never) {
		return
	}
	j.sum.IdentitiesChecked = append(j.sum.IdentitiesChecked, n)
	if c.agreed == never {
		j.failf("the members did not agree on the topology after %s", c)
	}
	recovered := max(all, c.agreed)
	if !complete {
		j.failf("after %s only %d of %d identities answered", c, n, j.config.Identities)
		recovered = never
	}
	j.count(c, all, complete)
	if c.kind == Restart {
		j.sum.Replacing = append(j.sum.Replacing, j.loadUntil(i, min(recovered, until)))
	}
	if c.agreed != never && (c.kind == Join || c.kind == Restart) {
		recovered = max(recovered, j.rebalanced(c, until))
	}
	failed := j.failedWithin(recovered, until)
	j.sum.FailedAfterRecovery += failed
	if failed > 0 {
		j.failf("%d calls failed after %s was recovered", failed, c)
	}
}

// cutShort reports whether the user ended the run while the last change was still within its time.
func (j *judge) cutShort(i int) bool {
	t := j.time
	return t.interrupted != never && i+1 == len(t.changes) &&
		(t.changes[i].kind == Form || float64(t.interrupted-t.changes[i].asked())/1e9 <= j.config.RecoverySeconds+j.slack(t.changes[i]))
}

// count enters a change and its times in the summary, and holds its recovery to the bound.
func (j *judge) count(c change, all int64, complete bool) {
	s := j.sum
	if c.killed {
		s.Kills++
		s.DetectSeconds = later(s.DetectSeconds, seconds(c.ns, c.gone))
		if complete {
			s.RecoverySeconds = later(s.RecoverySeconds, seconds(c.ns, all))
		}
	}
	switch c.kind {
	case Form:
		s.FormSeconds = seconds(c.ns, c.agreed)
		return
	case Join:
		s.Joins++
	case Restart:
		s.Restarts++
	}
	if !complete {
		return
	}
	took, slack := float64(all-c.asked())/1e9, j.slack(c)
	switch bound := j.config.RecoverySeconds; {
	case bound <= 0 || took <= bound+slack:
	case c.killed:
		j.failf("recovery after %s took %.1f s, the bound is %.0f s", c, took, bound)
	default:
		j.failf("%s took %.1f s until every identity had answered, the bound is %.0f s, and %.1f s to call them all", c, took, bound, slack)
	}
}

// asked is when the time of a change begins: a recovery with the kill.
func (c change) asked() int64 {
	if c.killed {
		return c.ns
	}
	return c.probed
}

// loadUntil counts the calls that the load had begun in a restart before a time.
func (j *judge) loadUntil(i int, until int64) (n int) {
	for _, start := range j.begun[i] {
		if start < until {
			n++
		}
	}
	return n
}

// slack is what a change that is no recovery may take beyond the bound, since it is over when every identity
// was called and has answered: three times what that took before the load, when nothing else was to do. A
// recovery has none.
func (j *judge) slack(c change) float64 {
	if c.killed {
		return 0
	}
	if _, all := j.answers(0); j.begin < all {
		return 3 * float64(all-j.begin) / 1e9
	}
	return 0
}

// rebalanced is when no activation was on a member that is not its owner.
func (j *judge) rebalanced(c change, until int64) int64 {
	settled := j.lives.settled(c.agreed, until)
	if settled == never {
		if !j.sum.Interrupted {
			j.failf("after %s activations went on where another member had taken over", c)
		}
		return c.agreed
	}
	if c.kind == Join {
		j.sum.RebalanceSeconds = later(j.sum.RebalanceSeconds, seconds(c.ns, settled))
	}
	return settled
}

// answers counts the identities that answered a call begun after a change and before the next one,
// and dates the last of them to answer for the first time.
func (j *judge) answers(i int) (n int, all int64) {
	for _, end := range j.first[i] {
		if end != never {
			n++
			all = max(all, end)
		}
	}
	return n, all
}

// end is the size of the topology that the members agreed on after the load, before they were stopped.
func (j *judge) end() {
	j.sum.Members = j.time.atEnd
	if j.sum.Members == 0 && len(j.time.changes) > 0 && !j.sum.Interrupted {
		j.failf("at the end the members did not agree on the topology")
	}
}

// String is the change as reasons name it.
func (c change) String() string {
	switch c.kind {
	case Form:
		return "forming"
	case Killed:
		return "the kill of " + c.member
	case Join:
		return "the join of " + c.member
	case Restart:
		return "the restart of " + c.member
	default:
		return "the leave of " + c.member
	}
}
