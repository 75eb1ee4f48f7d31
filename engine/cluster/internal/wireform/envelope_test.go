package wireform

import (
	"fmt"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
)

// FuzzEnvelope: requests to processes and their answers, with and without a view in front.
func FuzzEnvelope(f *testing.F) {
	message := core.Message{Type: "a.B", Data: []byte("data")}
	for _, w := range []*Envelope{{Message: message, Remaining: 7}, {View: &Stamp{Lineage: "L", Epoch: 7, Hash: 9}, Message: message}} {
		data, err := w.AppendWire(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, viewed := range []bool{false, true} {
			fuzztest.Decoder[Envelope]{
				Decode: func(data []byte) (Envelope, error) { return envelopeFrom(data, viewed) },
				Encode: func(w Envelope) ([]byte, error) { return w.AppendWire(nil) },
				Equal:  func(a, b Envelope) bool { return describe(a) == describe(b) },
			}.Check(t, data)
		}
	})
}

func envelopeFrom(data []byte, viewed bool) (Envelope, error) {
	w := Envelope{}
	if viewed {
		w.View = &Stamp{}
	}
	if err := w.Parse(data); err != nil {
		return Envelope{}, err
	}
	return w, nil
}

func describe(w Envelope) string {
	if w.View == nil {
		return fmt.Sprintf("%q %q %d", w.Message.Type, w.Message.Data, w.Remaining)
	}
	return fmt.Sprintf("%+v %q %q %d", *w.View, w.Message.Type, w.Message.Data, w.Remaining)
}
