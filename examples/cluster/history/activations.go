package history

import "slices"

// life is one activation: where and when.
type life struct {
	member, activation string
	span
}

// activations is what the members' records say of activations.
type activations struct {
	count, moved         int
	overlaps, duplicates int
	duplicateNames       []string
	byID                 map[string][]life
}

// follow pairs the beginnings and ends of activations. The life of an activation whose process was
// killed or is gone ends with its process.
func follow(events []Record, t *timeline) *activations {
	a := &activations{byID: map[string][]life{}}
	open := map[string]map[string]*life{} // member → activation
	ids := map[string]map[string]string{}
	closeLife := func(member, activation string, ns int64) {
		if l := open[member][activation]; l != nil {
			l.until = ns
			id := ids[member][activation]
			a.byID[id] = append(a.byID[id], *l)
			delete(open[member], activation)
		}
	}
	for _, e := range events {
		switch e.Event {
		case Activated:
			if open[e.Member] == nil {
				open[e.Member], ids[e.Member] = map[string]*life{}, map[string]string{}
			}
			open[e.Member][e.Activation] = &life{e.Member, e.Activation, span{e.Ns, never}}
			ids[e.Member][e.Activation] = e.ID
		case Deactivated:
			closeLife(e.Member, e.Activation, e.Ns)
		case Killed, Exited:
			for activation := range open[e.Member] {
				closeLife(e.Member, activation, e.Ns)
			}
		}
	}
	for member, lives := range open {
		for activation := range lives {
			closeLife(member, activation, never)
		}
	}
	a.judge(t)
	return a
}

func (a *activations) judge(t *timeline) {
	for id, lives := range a.byID {
		slices.SortFunc(lives, func(x, y life) int { return int(min(max(x.from-y.from, -1), 1)) })
		a.count += len(lives)
		overlap, duplicate := false, false
		for i := range lives {
			if i > 0 && lives[i].member != lives[i-1].member {
				a.moved++
			}
			for j := range i {
				both := span{lives[i].from, min(lives[i].until, lives[j].until, t.loadEnd)}
				if both.from >= both.until {
					continue
				}
				if t.inAgreement(both) {
					duplicate = true
				} else {
					overlap = true
				}
			}
		}
		if overlap {
			a.overlaps++
		}
		if duplicate {
			a.duplicates++
			a.duplicateNames = append(a.duplicateNames, id)
		}
	}
	slices.Sort(a.duplicateNames)
}

// settled is when the last activation that had to move for a change ended: the latest end of a life
// after it and before the next change, or the agreement itself.
func (a *activations) settled(c change, until int64) int64 {
	last := c.agreed
	for _, lives := range a.byID {
		for i, l := range lives {
			moved := i+1 < len(lives) && lives[i+1].member != l.member
			if moved && l.until > last && l.until < until && l.from < c.agreed {
				last = l.until
			}
		}
	}
	return last
}
