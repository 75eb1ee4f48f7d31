package viewkeeper

import (
	"encoding/json"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
)

// FuzzRecord reads what somebody else may have written in place of a record.
func FuzzRecord(f *testing.F) {
	good, err := json.Marshal(core.ViewRecord{
		Format: 1, Lineage: "l", Epoch: 5, Revision: 2, WriteID: "w",
		Members: []core.Member{{ID: "m1", Address: "10.0.0.1:7000", Status: core.Up}},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(good), "", "{}", `{"format":1}`, `[]`, `{"lineage":"l","write_id":"w","members":[{"id":"a"}]}`} {
		f.Add([]byte(s))
	}
	d := fuzztest.Decoder[*core.View]{
		Decode: parse,
		Encode: func(v *core.View) ([]byte, error) { return json.Marshal(v.Record()) },
		Equal:  func(a, b *core.View) bool { return a.Compare(b) == core.Same },
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if b == nil {
			b = []byte{}
		}
		d.Check(t, b)
	})
}
