package memberlist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	lib "github.com/hashicorp/memberlist"

	"github.com/granary-go/granary/core"
)

func goodRow() row {
	return row{
		Member: core.Member{
			ID: "m1", Address: "127.0.0.1:7000", Kinds: []string{"Cart", "Hello@2"}, Status: core.Up,
			Joined: 1_700_000_000_000, Weight: 50, Protocol: core.Protocol{Min: 1, Max: 3},
		},
		revision: 4, claim: 1_700_000_000_001,
	}
}

func TestRoundTrip(t *testing.T) {
	w := goodRow()
	back, err := decodeRow(w.encode())
	if err != nil || !reflect.DeepEqual(back, w) {
		t.Errorf("row %+v came back as %+v, %v", w, back, err)
	}
	for _, m := range []meta{
		{id: "m1", status: core.Leaving, protocol: core.Protocol{Min: 1, Max: 2}, revision: 1 << 40},
		{id: "c1", client: true, revision: 1},
	} {
		back, err := decodeMeta(m.encode())
		if err != nil || back != m {
			t.Errorf("meta %+v came back as %+v, %v", m, back, err)
		}
	}
	var rows []row
	departed, err := decodeState(encodeState([][]byte{w.encode(), []byte("bad"), w.encode()}, []departure{{"x", 1}, {"y", 1 << 40}}), func(b []byte) {
		if r, err := decodeRow(b); err == nil {
			rows = append(rows, r)
		}
	})
	if err != nil || len(rows) != 2 || !reflect.DeepEqual(departed, []departure{{"x", 1}, {"y", 1 << 40}}) {
		t.Errorf("state came back as %v, %v, %v", rows, departed, err)
	}
}

// The library panics when the meta data is longer than its limit.
func TestLargestMetaFits(t *testing.T) {
	m := meta{id: core.MemberID(strings.Repeat("x", maxID)), status: core.Up, protocol: core.Protocol{Min: 65535, Max: 65535}, revision: maxNumber}
	b := m.encode()
	if len(b) > lib.MetaMaxSize {
		t.Fatalf("%d bytes, the limit is %d", len(b), lib.MetaMaxSize)
	}
	if back, err := decodeMeta(b); err != nil || back != m {
		t.Fatalf("it came back as %+v, %v", back, err)
	}
}

// Rows that no member may have: row 16 of the bad inputs.
func TestBadRows(t *testing.T) {
	change := func(f func(*row)) []byte {
		w := goodRow()
		f(&w)
		return w.encode()
	}
	cases := map[string][]byte{
		"empty":               {},
		"not the format":      []byte(`{"id":"m1","address":"127.0.0.1:7000"}`),
		"another format":      append([]byte{9}, goodRow().encode()[1:]...),
		"bytes too many":      append(goodRow().encode(), 0),
		"missing port":        change(func(w *row) { w.Address = "127.0.0.1" }),
		"port 0":              change(func(w *row) { w.Address = "127.0.0.1:0" }),
		"port 70000":          change(func(w *row) { w.Address = "127.0.0.1:70000" }),
		"negative port":       change(func(w *row) { w.Address = "127.0.0.1:-1" }),
		"host 0.0.0.0":        change(func(w *row) { w.Address = "0.0.0.0:7000" }),
		"host ::":             change(func(w *row) { w.Address = "[::]:7000" }),
		"no host":             change(func(w *row) { w.Address = ":7000" }),
		"no address":          change(func(w *row) { w.Address = "" }),
		"control in host":     change(func(w *row) { w.Address = "a\nb:7000" }),
		"long address":        change(func(w *row) { w.Address = strings.Repeat("a", 300) + ":1" }),
		"no ID":               change(func(w *row) { w.ID = "" }),
		"ID of 129 bytes":     change(func(w *row) { w.ID = core.MemberID(strings.Repeat("x", 129)) }),
		"ID with a newline":   change(func(w *row) { w.ID = "a\nb" }),
		"ID not UTF-8":        change(func(w *row) { w.ID = "a\xff" }),
		"no status":           change(func(w *row) { w.Status = 0 }),
		"unknown status":      change(func(w *row) { w.Status = 4 }),
		"no revision":         change(func(w *row) { w.revision = 0 }),
		"huge revision":       change(func(w *row) { w.revision = maxNumber + 1 }),
		"huge claim":          change(func(w *row) { w.claim = 1<<64 - 1 }),
		"empty kind":          change(func(w *row) { w.Kinds = []string{""} }),
		"kind with a slash":   change(func(w *row) { w.Kinds = []string{"a/b"} }),
		"kind twice":          change(func(w *row) { w.Kinds = []string{"A", "A"} }),
		"kinds out of order":  change(func(w *row) { w.Kinds = []string{"B", "A"} }),
		"1025 kinds":          change(func(w *row) { w.Kinds = manyKinds(1025, 4) }),
		"kind list of 1 MB":   change(func(w *row) { w.Kinds = manyKinds(10_000, 100) }),
		"count without kinds": append(goodRow().encode()[:40], 0xff, 0x07),
	}
	for cut := range len(goodRow().encode()) {
		cases[fmt.Sprintf("cut at %d", cut)] = goodRow().encode()[:cut]
	}
	for name, b := range cases {
		if w, err := decodeRow(b); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
	if _, err := decodeRow(change(func(w *row) { w.Kinds = manyKinds(1024, 40) })); err != nil {
		t.Errorf("1024 kinds: %v", err)
	}
}

func manyKinds(n, width int) []string {
	kinds := make([]string, n)
	for i := range kinds {
		kinds[i] = fmt.Sprintf("%0*d", width, i)
	}
	return kinds
}

func TestBadMeta(t *testing.T) {
	good := meta{id: "m1", status: core.Up, revision: 1}.encode()
	for name, b := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "too long": append(bytes.Clone(good), 1), "text": []byte("role=server"),
		"no status":            meta{id: "m1", revision: 1}.encode(),
		"no revision":          meta{id: "m1", status: core.Up}.encode(),
		"client with a status": meta{id: "m1", client: true, status: core.Up, revision: 1}.encode(),
		"client, no revision":  meta{id: "m1", client: true}.encode(),
		"no ID":                meta{status: core.Up, revision: 1}.encode(),
		"flag 2":               append([]byte{rowFormat, byte(core.Up), 2}, good[3:]...),
	} {
		if m, err := decodeMeta(b); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestBadState(t *testing.T) {
	huge := binary.AppendUvarint([]byte{rowFormat}, 100_000)
	for name, b := range map[string][]byte{
		"empty": {}, "a count without rows": huge, "10^5 rows": append(huge, make([]byte, 200_000)...),
		"past the limit": make([]byte, maxState+1), "text": []byte("hello"),
		"a row past the limit": binary.AppendUvarint([]byte{rowFormat, 1}, maxRow+1),
	} {
		if _, err := decodeState(b, func([]byte) {}); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
