// Package frugaljson reads a JSON object of lists without allocating more than its length allows:
// about eight times as much, and 64 KiB. A text that would need more is refused before it is read.
package frugaljson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"
)

// What an object may make its reader allocate. Of eight parts one is the copy of each field, and one
// are its texts.
const (
	maxDepth  = 32       // arrays and objects within each other
	maxFields = 80       // of the object
	perString = 32       // bytes for an element of a list within a list
	perByte   = 6        // of which there may be as much for each byte of the object, with that of lists,
	perObject = 32 << 10 // and this beside it
	errorText = 200      // bytes of a reason: it may quote a number of any length
)

// Object is what is left of an object to be read. The first error sticks, and ends the reading.
type Object struct {
	fields map[string]json.RawMessage
	budget int // bytes that elements of lists may still take
	err    error
}

// Read begins with data, which must be one object in UTF-8.
func Read(data []byte) *Object {
	o := &Object{budget: perByte*len(data) + perObject}
	s := shapeOf(data)
	switch {
	case !utf8.Valid(data):
		o.fail(errors.New("it is not in UTF-8"))
	case s.depth > maxDepth || s.fields > maxFields:
		o.fail(fmt.Errorf("%d levels and %d fields, the limits are %d and %d", s.depth, s.fields, maxDepth, maxFields))
	default:
		o.fail(json.Unmarshal(data, &o.fields))
	}
	if o.err == nil && o.fields == nil {
		o.fail(errors.New("it is not an object"))
	}
	return o
}

func (o *Object) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

// take removes the field of that name; nil if it is not there.
func (o *Object) take(name string) []byte {
	if o.err != nil {
		return nil
	}
	raw := o.fields[name]
	delete(o.fields, name)
	return raw
}

// Field reads the field of that name into target, if it is there. A list needs ReadList.
func (o *Object) Field(name string, target any) {
	if raw := o.take(name); raw != nil {
		o.unmarshal(name, raw, target)
	}
}

func (o *Object) unmarshal(name string, raw []byte, target any) {
	if err := json.Unmarshal(raw, target); err != nil {
		o.fail(fmt.Errorf("%s: %w", name, err))
	}
}

// ReadList reads a list, if it is there; nil if it is not, or is empty. It charges twice the size of
// T for an element, so that the caller may copy it.
func ReadList[T any](o *Object, name string) []T {
	raw := o.take(name)
	if raw == nil {
		return nil
	}
	var one T
	s := shapeOf(raw)
	if o.budget -= s.elements*2*int(unsafe.Sizeof(one)) + s.inner*perString; o.budget < 0 {
		o.fail(fmt.Errorf("%s: %d elements, and %d within them, in %d bytes", name, s.elements, s.inner, len(raw)))
		return nil
	}
	list := make([]T, 0, s.elements) // so that it does not grow by and by
	if o.unmarshal(name, raw, &list); len(list) == 0 {
		return nil
	}
	return list
}

// Rest is an object of the fields that were not read, nil if there are none, and the first error.
func (o *Object) Rest() ([]byte, error) {
	if o.err != nil {
		return nil, fmt.Errorf("%.*v", errorText, o.err)
	}
	if len(o.fields) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // it would make six bytes of one
	err := e.Encode(o.fields)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// Names is an array of texts that JSON writes as they are.
type Names []string

var errNames = errors.New("not an array of names")

// UnmarshalJSON reads the array, which is well-formed JSON when encoding/json calls it.
func (l *Names) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if len(data) == 0 || data[0] != '[' || bytes.ContainsAny(data, "\\<>&\u2028\u2029") {
		return errNames
	}
	s := shapeOf(data)
	n := s.elements
	if s.depth > 1 || 2*n != bytes.Count(data, []byte{'"'}) {
		return errNames // not all are text
	}
	if n == 0 {
		return nil
	}
	*l = make(Names, 0, n)
	for range n {
		_, data, _ = bytes.Cut(data, []byte{'"'})
		name, after, _ := bytes.Cut(data, []byte{'"'})
		*l, data = append(*l, string(name)), after
	}
	return nil
}
