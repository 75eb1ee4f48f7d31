package cluster

import (
	"github.com/granary-go/granary/core"
)

// wireEnds is a granary.ActivationsTerminated.
type wireEnds struct{ ends []core.Activation }

// WireType is the full name of the message.
func (*wireEnds) WireType() string { return typeTerminated }

// AppendWire appends the message.
func (w *wireEnds) AppendWire(b []byte) ([]byte, error) {
	var end, place []byte
	for _, a := range w.ends {
		end = appendString(end[:0], 1, a.Identity.Key)
		end = appendString(end, 2, a.Identity.Kind)
		place = appendPlacement(place[:0], a.Placement)
		b = appendBytes(b, 1, appendBytes(end, 3, place))
	}
	return b, nil
}

// eachEnd reads a granary.ActivationsTerminated and calls each with each end in it, up to the first that
// is malformed. It keeps none, so that a message of many empty ends costs no memory.
func eachEnd(data []byte, each func(core.Activation)) error {
	return fields(data, func(f field) error {
		if f.num != 1 {
			return nil
		}
		var a core.Activation
		if err := parseEnd(f, &a); err != nil {
			return err
		}
		each(a)
		return nil
	})
}

func parseEnd(f field, a *core.Activation) error {
	return f.message(func(f field) error {
		switch f.num {
		case 1:
			return f.text(&a.Identity.Key)
		case 2:
			return f.text(&a.Identity.Kind)
		case 3:
			return parsePlacement(f, &a.Placement)
		}
		return nil
	})
}
