package history

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// source is where records come from.
type source interface {
	// each calls take with every record whose event is wanted, file by file, in the order in which
	// it was written. The record is good for that one call.
	each(want func(event string) bool, take func(*Record)) error
}

// folder reads every *.jsonl file below a directory.
type folder struct {
	dir    string
	enough func() bool // asked now and then: no more is read, but for the driver's; nil: all is
}

// errCut says that not all was read, since it was enough.
var errCut = errors.New("not all records were read")

// perQuestion is how many lines are read between two questions whether it is enough: some milliseconds. The
// driver writes fewer in a run.
const perQuestion = 4096

// longest is the longest line that is read: a topology of thousands of members.
const longest = 1 << 20

func (d folder) each(want func(event string) bool, take func(*Record)) error {
	files, err := filepath.Glob(filepath.Join(d.dir, "*.jsonl"))
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if len(files) == 0 {
		return fmt.Errorf("history: no *.jsonl file in %s", d.dir)
	}
	slices.SortFunc(files, func(a, b string) int { // the driver's first: it is short, and says what the run is
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	l := newLines()
	for _, f := range files {
		if rank(f) > 0 && d.enough != nil && d.enough() {
			return errCut
		}
		if err := d.readFile(f, l, want, take); err != nil {
			return err
		}
	}
	return nil
}

// rank orders the files.
func rank(name string) int {
	if filepath.Base(name) == "driver.jsonl" {
		return 0
	}
	return 1
}

// readFile reads one file. A last line that was cut off by a kill is left out; any other line that
// cannot be read is an error that names it.
func (d folder) readFile(name string, l *lines, want func(event string) bool, take func(*Record)) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, longest)
	var rec Record
	for n := 1; ; n++ {
		if n%perQuestion == 0 && d.enough != nil && d.enough() {
			return errCut
		}
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("history: %s:%d: %w", filepath.Base(name), n, err)
		}
		event := eventOf(line)
		if event != "" && !want(event) {
			continue
		}
		if err := l.decode(event, line, &rec); err != nil {
			return fmt.Errorf("history: %s:%d: %w", filepath.Base(name), n, err)
		}
		if want(rec.Event) {
			take(&rec)
		}
	}
}

var eventKey = []byte(`"event":"`)

// eventOf finds the event of a line without reading the rest; empty if there is none. A quote within
// a text is escaped, so the key cannot stand in one.
func eventOf(line []byte) string {
	_, rest, _ := bytes.Cut(line, eventKey)
	event := rest[:max(bytes.IndexByte(rest, '"'), 0)]
	switch string(event) { // constants, so that nothing is allocated
	case Called:
		return Called
	case Handled:
		return Handled
	case Activated:
		return Activated
	case Deactivated:
		return Deactivated
	default:
		return string(event)
	}
}

// lines decodes lines. Most are flat objects of short texts and whole numbers, and those are read
// without encoding/json, some ten times as fast.
type lines struct {
	names map[string]string // one copy of each text: millions of lines name thousands of identities
	brief bool              // what the judge does not ask of calls and handled requests is left out
}

func newLines() *lines { return &lines{names: map[string]string{}} }

// decode reads one line, whose event is known or empty.
func (l *lines) decode(event string, line []byte, r *Record) error {
	*r = Record{}
	l.brief = event == Called || event == Handled
	if l.flat(line, r) {
		return nil
	}
	*r = Record{}
	return json.Unmarshal(line, r)
}

// flat reads an object of plain texts and whole numbers; false for anything else.
func (l *lines) flat(line []byte, r *Record) bool {
	for i, sep := 0, byte('{'); ; sep = ',' {
		if i >= len(line) || line[i] != sep {
			return sep == ',' && string(line[i:]) == "}\n"
		}
		i++
		key, n := plainText(line[i:])
		if i += n; n == 0 || i+1 >= len(line) || line[i] != ':' {
			return false
		}
		i++
		if line[i] == '"' {
			text, n := plainText(line[i:])
			if i += n; n == 0 || !l.setText(r, key, text) {
				return false
			}
			continue
		}
		number, n := wholeNumber(line[i:])
		if i += n; n == 0 || !r.setNumber(key, number) {
			return false
		}
	}
}

// plainText reads a quoted text without escapes, and tells how long it is with its quotes; 0 if
// there is none.
func plainText(b []byte) (text []byte, length int) {
	if len(b) == 0 || b[0] != '"' {
		return nil, 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[1:i], i + 1
		case c == '\\' || c < ' ' || c >= 0x7f:
			return nil, 0
		}
	}
	return nil, 0
}

// wholeNumber reads digits, and tells how many; 0 if that is no number of JSON.
func wholeNumber(b []byte) (n uint64, length int) {
	for length < len(b) && '0' <= b[length] && b[length] <= '9' {
		n = n*10 + uint64(b[length]-'0')
		length++
	}
	if length > 18 || length > 1 && b[0] == '0' {
		return 0, 0
	}
	return n, length
}

func (l *lines) setText(r *Record, key, text []byte) bool {
	switch string(key) {
	case "member":
		if !l.brief {
			r.Member = l.intern(text)
		}
	case "event":
		r.Event = l.intern(text)
	case "id":
		r.ID = l.intern(text)
	case "outcome":
		r.Outcome = l.intern(text)
	case "delivery":
		r.Delivery = l.intern(text)
	case "activation":
		if !l.brief {
			r.Activation = string(text)
		}
	case "token": // the judge does not ask
	default:
		return false
	}
	return true
}

func (r *Record) setNumber(key []byte, n uint64) bool {
	switch string(key) {
	case "ns":
		r.Ns = int64(n)
	case "request":
		r.Request = n
	case "start":
		r.Start = int64(n)
	case "end":
		r.End = int64(n)
	default:
		return false
	}
	return true
}

func (l *lines) intern(text []byte) string {
	if known, ok := l.names[string(text)]; ok {
		return known
	}
	s := string(text)
	l.names[s] = s
	return s
}
