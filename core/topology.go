package core

// Topology is a view together with what changed against the view installed before it.
type Topology struct {
	View    *View
	Joined  []Member
	Left    []Member
	Changed []Member // same ID, other status, kinds or weight
}

// Diff is the topology that leads from old (nil: nothing) to next. Its lists ascend by ID.
func Diff(old, next *View) Topology {
	t := Topology{View: next}
	for m := range next.All() {
		if old == nil {
			t.Joined = append(t.Joined, m)
			continue
		}
		before, known := old.Member(m.ID)
		switch {
		case !known:
			t.Joined = append(t.Joined, m)
		case !before.sameRow(m):
			t.Changed = append(t.Changed, m)
		}
	}
	if old == nil {
		return t
	}
	for m := range old.All() {
		if _, stays := next.Member(m.ID); !stays {
			t.Left = append(t.Left, m)
		}
	}
	return t
}
