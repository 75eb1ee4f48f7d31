package memberlist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/granary-go/granary/core"
)

// What a pool may send to this process. All of it is refused beyond.
const (
	maxID       = 128      // bytes of a member ID: the meta data, at most 512 bytes, holds one
	maxAddress  = 261      // bytes of host:port: a DNS name has at most 255
	maxKinds    = 1024     // kinds of one member
	maxRow      = 64 << 10 // bytes of one row
	maxState    = 16 << 20 // bytes of the rows of a whole pool
	maxMembers  = 10_000   // members and clients of a pool
	maxPending  = 1024     // rows whose member is not known to be alive
	maxDeparted = 1024     // IDs that left; the oldest are forgotten
	maxNumber   = 1 << 62  // of revisions, claims and times
)

// rowFormat is the first byte of meta data, rows and states. A change of their form is another one.
const rowFormat = 1

// meta is what the library gossips about a node.
type meta struct {
	id       core.MemberID
	client   bool
	status   core.Status // zero for clients
	protocol core.Protocol
	revision uint64 // of the row; of a client, which has none, the number of times that it had to refute
}

// row is what a member tells about itself.
type row struct {
	core.Member
	revision uint64 // grows with every change that the member makes
	claim    uint64 // of two members at one address, the greater claim is the present one
}

var errShort = errors.New("it ends too soon")

func malformed(what string, err error) error {
	return fmt.Errorf("memberlist: malformed %s: %w: %w", what, err, core.ErrInvalid)
}

func (m meta) encode() []byte {
	b := make([]byte, 0, 32+len(m.id))
	b = append(b, rowFormat, byte(m.status), 0)
	if m.client {
		b[2] = 1
	}
	b = appendProtocol(b, m.protocol)
	b = binary.AppendUvarint(b, m.revision)
	return appendText(b, string(m.id))
}

func decodeMeta(b []byte) (meta, error) {
	r := reader{b: b}
	r.format()
	m := meta{status: core.Status(r.byte()), client: r.flag(), protocol: r.protocol(), revision: r.number(maxNumber)}
	m.id = core.MemberID(r.text(maxID))
	r.end()
	switch {
	case r.err != nil:
		return meta{}, malformed("meta data", r.err)
	case m.client && (m.status != 0 || m.revision == 0):
		return meta{}, malformed("meta data", errors.New("a client has a revision and no status"))
	case !m.client && (m.status < core.Joining || m.status > core.Leaving || m.revision == 0):
		return meta{}, malformed("meta data", fmt.Errorf("status %d, revision %d", m.status, m.revision))
	}
	return checked(m, checkID(m.id))
}

// checked is v, or nothing of it beside an error.
func checked[T any](v T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func (w row) encode() []byte {
	b := make([]byte, 0, 64+len(w.ID)+len(w.Address)+16*len(w.Kinds))
	b = append(b, rowFormat, byte(w.Status))
	b = binary.AppendUvarint(b, w.revision)
	b = binary.AppendUvarint(b, w.claim)
	b = binary.AppendUvarint(b, w.Joined)
	b = binary.AppendUvarint(b, uint64(w.Weight))
	b = appendProtocol(b, w.Protocol)
	b = appendText(b, string(w.ID))
	b = appendText(b, w.Address)
	b = binary.AppendUvarint(b, uint64(len(w.Kinds)))
	for _, kind := range w.Kinds {
		b = appendText(b, kind)
	}
	return b
}

func decodeRow(b []byte) (row, error) {
	if len(b) > maxRow {
		return row{}, malformed("row", fmt.Errorf("%d bytes, the limit is %d", len(b), maxRow))
	}
	r := reader{b: b}
	r.format()
	w := row{Member: core.Member{Status: core.Status(r.byte())}}
	w.revision, w.claim, w.Joined = r.number(maxNumber), r.number(maxNumber), r.number(maxNumber)
	w.Weight = uint16(r.number(1<<16 - 1))
	w.Protocol = r.protocol()
	w.ID = core.MemberID(r.text(maxID))
	w.Address = r.text(maxAddress)
	if n := r.count(maxKinds); n > 0 {
		w.Kinds = make([]string, n)
		for i := range w.Kinds {
			w.Kinds[i] = r.text(core.MaxKind)
		}
	}
	r.end()
	if r.err != nil {
		return row{}, malformed("row", r.err)
	}
	return checked(w, w.check())
}

// check tells why no member may have this row. What others send is checked by it, and what the node
// hands to Join and Update.
func (w row) check() error {
	if err := checkID(w.ID); err != nil {
		return err
	}
	refuse := func(err error) error {
		return fmt.Errorf("memberlist: row of member %q: %w: %w", w.ID, err, core.ErrInvalid)
	}
	if _, _, err := splitHostPort(w.Address); err != nil {
		return refuse(fmt.Errorf("address %q: %w", w.Address, err))
	}
	if w.Status < core.Joining || w.Status > core.Leaving {
		return refuse(fmt.Errorf("unknown status %d", w.Status))
	}
	if w.revision == 0 {
		return refuse(errors.New("no revision"))
	}
	if len(w.Kinds) > maxKinds {
		return refuse(fmt.Errorf("%d kinds, the limit is %d", len(w.Kinds), maxKinds))
	}
	for i, kind := range w.Kinds {
		if err := core.CheckKind(kind); err != nil {
			return refuse(err)
		}
		if i > 0 && w.Kinds[i-1] >= kind {
			return refuse(fmt.Errorf("kind %q is out of order or listed twice", kind))
		}
	}
	return nil
}

func checkID(id core.MemberID) error {
	if id == "" || len(id) > maxID || !plain(string(id)) {
		return fmt.Errorf("memberlist: member ID %.80q: it takes 1 to %d bytes of UTF-8 without spaces and control characters: %w",
			string(id), maxID, core.ErrInvalid)
	}
	return nil
}

// plain reports whether s can stand in a log line and a node name.
func plain(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) < 0
}

// departure says that a member left, and the revision of its row at that time: a later one refutes it.
type departure struct {
	id       core.MemberID
	revision uint64
}

// encodeState holds rows, as encoded before, and who left.
func encodeState(rows [][]byte, departed []departure) []byte {
	size := 16
	for _, w := range rows {
		size += len(w) + 5
	}
	b := append(make([]byte, 0, size+32*len(departed)), rowFormat)
	b = binary.AppendUvarint(b, uint64(len(rows)))
	for _, w := range rows {
		b = appendText(b, w)
	}
	b = binary.AppendUvarint(b, uint64(len(departed)))
	for _, d := range departed {
		b = binary.AppendUvarint(appendText(b, string(d.id)), d.revision)
	}
	return b
}

// decodeState hands each row to take, in the form of its bytes, and returns who left. A row that
// decodeRow would refuse is the receiver's to refuse: it spoils no other.
func decodeState(b []byte, take func(row []byte)) ([]departure, error) {
	if len(b) > maxState {
		return nil, malformed("state", fmt.Errorf("%d bytes, the limit is %d", len(b), maxState))
	}
	r := reader{b: b}
	r.format()
	for n := r.count(maxMembers); n > 0 && r.err == nil; n-- {
		if w := r.bytes(maxRow); r.err == nil {
			take(w)
		}
	}
	n := r.count(maxDeparted)
	departed := make([]departure, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		d := departure{core.MemberID(r.text(maxID)), r.number(maxNumber)}
		if r.err == nil && checkID(d.id) == nil {
			departed = append(departed, d)
		}
	}
	r.end()
	if r.err != nil {
		return nil, malformed("state", r.err)
	}
	return departed, nil
}

// The messages that members send each other past the library's own. Each is one letter and a body.
const (
	msgRow  = 'r' // a row, from anybody
	msgWant = 'w' // the ID of who asks the receiver for its row
	msgLeft = 'l' // who left, and where its gossip was
)

func encodeLeft(d departure, address string) []byte {
	return binary.AppendUvarint(appendText(appendText([]byte{msgLeft}, string(d.id)), address), d.revision)
}

// decodeLeft reads the body of a msgLeft.
func decodeLeft(b []byte) (d departure, address string, err error) {
	r := reader{b: b}
	d.id, address, d.revision = core.MemberID(r.text(maxID)), r.text(maxAddress), r.number(maxNumber)
	r.end()
	if err = r.err; err == nil {
		_, _, err = splitHostPort(address)
	}
	if err != nil {
		return departure{}, "", malformed("farewell", err)
	}
	if err = checkID(d.id); err != nil {
		return departure{}, "", err
	}
	return d, address, nil
}

func appendProtocol(b []byte, p core.Protocol) []byte {
	b = binary.AppendUvarint(b, uint64(p.Min))
	return binary.AppendUvarint(b, uint64(p.Max))
}

func appendText[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// reader takes values off the front of b. After the first error it gives zero values only.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) format() {
	if f := r.byte(); r.err == nil && f != rowFormat {
		r.fail(fmt.Errorf("format %d, this process knows %d", f, rowFormat))
	}
}

func (r *reader) byte() byte {
	if s := r.take(1); len(s) > 0 {
		return s[0]
	}
	return 0
}

func (r *reader) flag() bool {
	c := r.byte()
	if c > 1 {
		r.fail(fmt.Errorf("flag %d", c))
	}
	return c == 1
}

func (r *reader) number(limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.b)
	switch {
	case size <= 0:
		r.fail(errShort)
		return 0
	case n > limit:
		r.fail(fmt.Errorf("number %d, the limit is %d", n, limit))
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count is the number of things that follow, each of at least one byte: nobody makes room for more
// than were sent.
func (r *reader) count(limit int) int {
	n := r.number(uint64(limit))
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

func (r *reader) bytes(limit int) []byte { return r.take(r.number(uint64(limit))) }

// take is the next n bytes, or nil if there are fewer.
func (r *reader) take(n uint64) (s []byte) {
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	s, r.b = r.b[:n], r.b[n:]
	return s
}

func (r *reader) text(limit int) string { return string(r.bytes(limit)) }

func (r *reader) protocol() core.Protocol {
	return core.Protocol{Min: uint16(r.number(1<<16 - 1)), Max: uint16(r.number(1<<16 - 1))}
}

func (r *reader) end() {
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Errorf("%d bytes too many", len(r.b)))
	}
}
