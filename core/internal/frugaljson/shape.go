package frugaljson

// shape counts what a JSON text consists of, before anything is allocated for it. Of a malformed
// text it may count anything: whoever reads that refuses it.
type shape struct {
	depth    int // levels of arrays and objects
	fields   int // of the outermost object
	elements int // of the outermost array
	inner    int // of arrays within

	level  int
	arrays uint64 // bit n: the present array or object of level n is an array
}

func shapeOf(data []byte) shape {
	var s shape
	plain := false // within a number or a word
	for i := 0; i < len(data); i++ {
		c := data[i]
		was := plain
		plain = false
		switch c {
		case ' ', '\t', '\n', '\r', ',':
		case ':':
			if s.level == 1 {
				s.fields++
			}
		case '"':
			s.value()
			i += textLen(data[i+1:])
		case '{', '[':
			s.value()
			s.open(c == '[')
		case '}', ']':
			s.level = max(s.level-1, 0)
		default:
			if plain = true; !was {
				s.value()
			}
		}
	}
	return s
}

// textLen is how many bytes a text goes on after its first quote, with the last one.
func textLen(data []byte) int {
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// value notes that a value begins, or the name of a field.
func (s *shape) value() {
	switch {
	case s.level >= 64 || s.arrays>>s.level&1 == 0:
	case s.level == 1:
		s.elements++
	default:
		s.inner++
	}
}

func (s *shape) open(array bool) {
	s.level++
	s.depth = max(s.depth, s.level)
	if s.level < 64 {
		s.arrays &^= 1 << s.level
		if array {
			s.arrays |= 1 << s.level
		}
	}
}
