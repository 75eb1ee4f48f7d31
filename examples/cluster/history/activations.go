package history

import (
	"cmp"
	"slices"
)

// life is one activation: where and when.
type life struct {
	member string
	span
}

// activations gathers from the members' records which activations there were.
type activations struct {
	ended map[string]int64 // of members, by the driver's records
	open  map[activation]opened
	lives map[string][]life // by identity

	count, moved         int
	overlaps, duplicates int
	duplicateNames       []string
}

type activation struct{ member, name string }

type opened struct {
	id   string
	from int64
}

func newActivations(ended map[string]int64) *activations {
	return &activations{ended: ended, open: map[activation]opened{}, lives: map[string][]life{}}
}

// take is the next record of a member, in the order in which it wrote them.
func (a *activations) take(r *Record) {
	key := activation{r.Member, r.Activation}
	switch r.Event {
	case Activated:
		a.open[key] = opened{r.ID, r.Ns}
	case Deactivated:
		if o, ok := a.open[key]; ok {
			a.close(key, o, r.Ns)
		}
	}
}

// close ends a life. One whose process was killed or is gone ends with its process.
func (a *activations) close(key activation, o opened, ns int64) {
	delete(a.open, key)
	if end, over := a.ended[key.member]; over {
		if ns = min(ns, end); o.from >= end {
			return // written while the process died
		}
	}
	a.lives[o.id] = append(a.lives[o.id], life{key.member, span{o.from, ns}})
}

// judge counts, once all records are there: what still runs has no end.
func (a *activations) judge(t *timeline) {
	for key, o := range a.open {
		a.close(key, o, never)
	}
	for id, lives := range a.lives {
		slices.SortFunc(lives, func(x, y life) int { return cmp.Compare(x.from, y.from) })
		a.count += len(lives)
		overlap, duplicate := false, false
		for i := range lives {
			if i > 0 && lives[i].member != lives[i-1].member {
				a.moved++
			}
			for j := range i {
				both := span{lives[i].from, min(lives[i].until, lives[j].until, t.loadEnd)}
				switch {
				case both.from >= both.until:
				case t.inAgreement(both):
					duplicate = true
				default:
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

// settled is when, after the members had agreed, no activation was on a member that is not its owner:
// the latest end of a life on another member than the one where the identity's last life before until
// was begun. It is agreed itself if nothing had to move, and never if something that had to did not.
func (a *activations) settled(agreed, until int64) int64 {
	last := agreed
	for _, lives := range a.lives {
		owner := ""
		for _, l := range lives {
			if l.from < until {
				owner = l.member
			}
		}
		for _, l := range lives {
			if l.from >= until || l.member == owner || l.until <= last {
				continue
			}
			if l.until >= until {
				return never
			}
			last = l.until
		}
	}
	return last
}
