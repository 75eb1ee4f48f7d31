package history

import "math/bits"

// mark is something that became of a request.
type mark int

const (
	ran mark = iota
	ranAgain
	answered
	refused // its caller was told that it had not run
	marks
)

// requests remembers what became of each request. The requests of one caller are numbered without
// gaps, so a page of bits is filled before the next one begins.
type requests map[uint64]*page

const pageBits = 12

type page [marks][1 << pageBits / 64]uint64

// set marks a request and reports whether it had that mark.
func (r requests) set(request uint64, m mark) bool {
	p := r[request>>pageBits]
	if p == nil {
		p = &page{}
		r[request>>pageBits] = p
	}
	word := &p[m][request%(1<<pageBits)/64]
	bit := uint64(1) << (request % 64)
	had := *word&bit != 0
	*word |= bit
	return had
}

// count counts the requests that a function of their marks selects, 64 at a time.
func (r requests) count(which func(ran, ranAgain, answered, refused uint64) uint64) (n int) {
	for _, p := range r {
		for i := range p[ran] {
			n += bits.OnesCount64(which(p[ran][i], p[ranAgain][i], p[answered][i], p[refused][i]))
		}
	}
	return n
}
