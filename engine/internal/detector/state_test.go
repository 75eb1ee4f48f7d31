package detector

import "github.com/granary-go/granary/core"

// Suspected reports whether id is a suspect.
func (d *Detector) Suspected(id core.MemberID) bool {
	p := d.peers[id]
	return p != nil && p.suspect
}

// Suspects lists the suspects in ascending order of ID.
func (d *Detector) Suspects() (out []core.MemberID) {
	for _, p := range d.order {
		if p.suspect {
			out = append(out, p.id)
		}
	}
	return out
}

// Healthy reports whether this node's own timers are in time; while they are not, it is not ready.
func (d *Detector) Healthy() bool { return !d.sick }
