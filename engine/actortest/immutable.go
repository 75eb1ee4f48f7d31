package actortest

import (
	"hash/maphash"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/granary-go/granary/engine/actor"
)

// header carries a message's hash from its sender to the turn.
const header = "actortest-hash"

// Immutable gives Props of the same actor that fail the test if a message is changed after it was sent:
// by the sender before it is handled, or by the actor's turn. Functions, channels, locks and what
// protobuf keeps for itself do not count. It costs time; it is for tests alone.
func Immutable(t testing.TB, p *actor.Props) *actor.Props {
	seed := maphash.MakeSeed()
	checked := *p
	gate := p.Gate
	checked.Gate = func(a actor.Actor, e *actor.Envelope) (bool, error) {
		if gate != nil {
			if taken, err := gate(a, e); taken || err != nil {
				return taken, err
			}
		}
		h := make(actor.Header, len(e.Header)+1)
		maps.Copy(h, e.Header)
		h[header] = hash(seed, e.Message)
		e.Header = h
		return false, nil
	}
	check := func(next actor.ReceiveFunc) actor.ReceiveFunc {
		return func(c *actor.Context) {
			msg, sent, self := c.Message(), c.Header()[header], c.Self()
			if sent == "" { // a lifecycle message, or one that came before the first instance
				next(c)
				return
			}
			if hash(seed, msg) != sent {
				t.Errorf("a %T was changed after it was sent to %s", msg, self)
			}
			next(c)
			if hash(seed, msg) != sent {
				t.Errorf("%s changed the %T that it was handling", self, msg)
			}
		}
	}
	checked.Receive = append([]func(actor.ReceiveFunc) actor.ReceiveFunc{check}, p.Receive...)
	return &checked
}

// hash is a text that differs where two states of msg differ.
func hash(seed maphash.Seed, msg any) string {
	w := walker{seen: make(map[seen]bool)}
	w.h.SetSeed(seed)
	w.value(reflect.ValueOf(msg))
	return strconv.FormatUint(w.h.Sum64(), 36)
}

// walker feeds everything that can be reached from a value to a hash.
type walker struct {
	h    maphash.Hash
	seen map[seen]bool
}

// seen is a place in memory that was visited, as this type.
type seen struct {
	at  uintptr
	typ reflect.Type
}

func (w *walker) value(v reflect.Value) {
	if !v.IsValid() {
		w.text("nil")
		return
	}
	if own := v.Type().PkgPath(); own == "sync" || own == "sync/atomic" || strings.HasPrefix(own, "google.golang.org/protobuf/") {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		w.text(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.text(strconv.FormatInt(v.Int(), 36))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		w.text(strconv.FormatUint(v.Uint(), 36))
	case reflect.Float32, reflect.Float64:
		w.text(strconv.FormatFloat(v.Float(), 'b', -1, 64))
	case reflect.Complex64, reflect.Complex128:
		w.text(strconv.FormatComplex(v.Complex(), 'b', -1, 128))
	case reflect.String:
		w.text(v.String())
	case reflect.Interface:
		w.value(v.Elem())
	case reflect.Pointer:
		w.pointer(v)
	case reflect.Array, reflect.Slice:
		w.list(v)
	case reflect.Map:
		w.table(v)
	case reflect.Struct:
		w.fields(v)
	}
}

func (w *walker) text(s string) {
	_, _ = w.h.WriteString(s)
	_ = w.h.WriteByte(0)
}

func (w *walker) pointer(v reflect.Value) {
	if v.IsNil() {
		w.text("nil")
		return
	}
	at := seen{v.Pointer(), v.Type()}
	if !w.seen[at] {
		w.seen[at] = true
		w.value(v.Elem())
	}
}

func (w *walker) list(v reflect.Value) {
	w.text(strconv.Itoa(v.Len()))
	for i := range v.Len() {
		w.value(v.Index(i))
	}
}

// table adds up the hashes of the entries, since a map has no order.
func (w *walker) table(v reflect.Value) {
	var sum uint64
	for it := v.MapRange(); it.Next(); {
		entry := walker{seen: maps.Clone(w.seen)}
		entry.h.SetSeed(w.h.Seed())
		entry.value(it.Key())
		entry.value(it.Value())
		sum += entry.h.Sum64()
	}
	w.text(strconv.Itoa(v.Len()) + strconv.FormatUint(sum, 36))
}

func (w *walker) fields(v reflect.Value) {
	for i := range v.NumField() {
		if v.Type().Field(i).Name != "sizeCache" { // protobuf's, of a plain type
			w.value(v.Field(i))
		}
	}
}
