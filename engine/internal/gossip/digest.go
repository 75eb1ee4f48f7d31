package gossip

import (
	"hash/fnv"

	"github.com/granary-go/granary/core"
)

// digest is how much is held of each member of the view, for those who have the same view.
type digest struct {
	hash     uint64 // over the IDs of the view; 0: none
	versions []uint64
	stale    bool
}

// digestOf is the digest of a view, still without versions.
func digestOf(view []core.MemberID) digest {
	if len(view) == 0 {
		return digest{}
	}
	h := fnv.New64a()
	for _, id := range view {
		h.Write(append([]byte(id), 0))
	}
	return digest{hash: h.Sum64() | 1, stale: true}
}

// same reports whether a peer that sent this hash has the same view.
func (d *digest) same(hash uint64) bool { return hash != 0 && hash == d.hash }

// versions is how much is held of each member of the view. Messages share it.
func (m *Machine) versions() []uint64 {
	if m.digest.stale {
		m.digest.stale = false
		m.digest.versions = make([]uint64, len(m.view))
		for i, id := range m.view {
			if e := m.entries[id]; e != nil {
				m.digest.versions[i] = e.upto
			}
		}
	}
	return m.digest.versions
}

// believe raises the lines of p to what p says that it holds.
func (m *Machine) believe(p *peer, r *Request) {
	p.pulls = m.digest.same(r.View) && len(r.Versions) == len(m.view)
	if !p.pulls {
		return
	}
	for i, id := range m.view {
		if e := m.entries[id]; e != nil {
			p.raise(e, r.Versions[i])
		}
	}
}
