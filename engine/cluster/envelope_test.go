package cluster

import (
	"fmt"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
)

// FuzzEnvelope: requests to processes and their answers, with and without a view in front.
func FuzzEnvelope(f *testing.F) {
	message := core.Message{Type: "a.B", Data: []byte("data")}
	for _, w := range []*wireEnvelope{{message: message, remaining: 7}, {view: &stamp{lineage: "L", epoch: 7, hash: 9}, message: message}} {
		data, err := w.AppendWire(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, viewed := range []bool{false, true} {
			fuzztest.Decoder[wireEnvelope]{
				Decode: func(data []byte) (wireEnvelope, error) { return envelopeFrom(data, viewed) },
				Encode: func(w wireEnvelope) ([]byte, error) { return w.AppendWire(nil) },
				Equal:  func(a, b wireEnvelope) bool { return describe(a) == describe(b) },
			}.Check(t, data)
		}
	})
}

func envelopeFrom(data []byte, viewed bool) (wireEnvelope, error) {
	w := wireEnvelope{}
	if viewed {
		w.view = &stamp{}
	}
	if err := w.parse(data); err != nil {
		return wireEnvelope{}, err
	}
	return w, nil
}

func describe(w wireEnvelope) string {
	if w.view == nil {
		return fmt.Sprintf("%q %q %d", w.message.Type, w.message.Data, w.remaining)
	}
	return fmt.Sprintf("%+v %q %q %d", *w.view, w.message.Type, w.message.Data, w.remaining)
}
