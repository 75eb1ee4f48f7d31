package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// What a record may make its reader allocate, all in all about eight times its length. Of that one
// part is the copy of each field, and one are its strings.
const (
	recordExtra = 64       // fields that format 1 does not know
	recordDepth = 32       // arrays and objects within each other
	perElement  = 192      // bytes for an element of a list: a member is copied once
	perString   = 32       // and for an element of a list within it
	perByte     = 6        // of which there may be as much for each byte of the record,
	perRecord   = 32 << 10 // and this beside it
)

// recordDecoder takes the object apart that a record is.
type recordDecoder struct {
	fields map[string]json.RawMessage
	budget int // bytes that elements of lists may still take
}

func newRecordDecoder(data []byte) (*recordDecoder, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not in UTF-8")
	}
	shape := shapeOf(data)
	if shape.depth > recordDepth || shape.fields > len(recordFields)+recordExtra {
		return nil, fmt.Errorf("%d levels and %d fields, the limits are %d and %d",
			shape.depth, shape.fields, recordDepth, len(recordFields)+recordExtra)
	}
	d := &recordDecoder{budget: perByte*len(data) + perRecord}
	if err := json.Unmarshal(data, &d.fields); err != nil {
		return nil, err
	}
	if d.fields == nil {
		return nil, errors.New("it is not an object")
	}
	return d, nil
}

// field reads one field into target, if it is there.
func (d *recordDecoder) field(name string, target any) error {
	raw, present := d.fields[name]
	if !present {
		return nil
	}
	delete(d.fields, name)
	shape := shapeOf(raw)
	if d.budget -= shape.elements*perElement + shape.inner*perString; d.budget < 0 {
		return fmt.Errorf("%d elements, and %d within them, in %d bytes", shape.elements, shape.inner, len(raw))
	}
	makeRoom(target, shape.elements)
	return json.Unmarshal(raw, target)
}

// rest is an object of the fields that were not read; nil if there are none.
func (d *recordDecoder) rest() ([]byte, error) {
	if len(d.fields) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // it would make six bytes of one; whoever writes the record does it
	err := e.Encode(d.fields)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// makeRoom gives a list that is to be read its capacity, so that it does not grow by and by.
func makeRoom(list any, n int) {
	switch p := list.(type) {
	case *[]plainMember:
		*p = make([]plainMember, 0, n)
	case *[]Departure:
		*p = make([]Departure, 0, n)
	case *[]Change:
		*p = make([]Change, 0, n)
	case *[]Suspicion:
		*p = make([]Suspicion, 0, n)
	}
}

// plainMember is Member as it is read: its fields, of which the list of kinds is read at once.
type plainMember struct {
	ID       MemberID  `json:"id"`
	Address  string    `json:"address"`
	Kinds    plainList `json:"kinds"`
	Status   Status    `json:"status"`
	Joined   uint64    `json:"joined"`
	Weight   uint16    `json:"weight"`
	Protocol Protocol  `json:"protocol"`
}

func membersOf(read []plainMember) []Member {
	if len(read) == 0 {
		return nil
	}
	out := make([]Member, len(read))
	for i, m := range read {
		out[i] = Member{ID: m.ID, Address: m.Address, Kinds: m.Kinds, Status: m.Status, Joined: m.Joined, Weight: m.Weight, Protocol: m.Protocol}
	}
	return out
}

// plainList is an array of names that JSON writes as they are.
type plainList []string

var errNames = errors.New("not an array of names")

// UnmarshalJSON reads the array, which is well-formed JSON when encoding/json calls it.
func (l *plainList) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if len(data) == 0 || data[0] != '[' || bytes.IndexByte(data, '\\') >= 0 {
		return errNames
	}
	n := shapeOf(data).elements
	if n == 0 {
		return nil
	}
	if bytes.ContainsAny(data, "<>&\u2028\u2029") || 2*n != bytes.Count(data, []byte{'"'}) {
		return errNames // written, they would have escapes; or not all are text
	}
	*l = make(plainList, 0, n)
	for range n {
		_, data, _ = bytes.Cut(data, []byte{'"'})
		name, after, _ := bytes.Cut(data, []byte{'"'})
		*l, data = append(*l, string(name)), after
	}
	return nil
}

// jsonShape counts what a JSON text consists of, before anything is allocated for it. Of a malformed
// text it may count anything: whoever reads that refuses it.
type jsonShape struct {
	depth    int // levels of arrays and objects
	fields   int // of the outermost object
	elements int // of the outermost array
	inner    int // of arrays within

	level  int
	arrays uint64 // bit n: the present array or object of level n is an array
}

func shapeOf(data []byte) jsonShape {
	var s jsonShape
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
func (s *jsonShape) value() {
	switch {
	case s.level >= 64 || s.arrays>>s.level&1 == 0:
	case s.level == 1:
		s.elements++
	default:
		s.inner++
	}
}

func (s *jsonShape) open(array bool) {
	s.level++
	s.depth = max(s.depth, s.level)
	if s.level < 64 {
		s.arrays &^= 1 << s.level
		if array {
			s.arrays |= 1 << s.level
		}
	}
}
