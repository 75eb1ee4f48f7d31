package core

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/granary-go/granary/core/internal/frugaljson"
)

// RecordFormat is the format of ViewRecord's encoding that this package writes.
const RecordFormat = 1

// recordFields are the names of format 1, in their order.
var recordFields = [...]string{"format", "lineage", "epoch", "revision", "write_id", "members", "departed", "changes", "suspicions"}

// plainRecord is ViewRecord without its methods.
type plainRecord ViewRecord

// MarshalJSON is the one encoding of a record: one object, its fields in a fixed order, then those
// of Extra, ascending by name. It returns ErrInvalid if Extra is no object or has a name of format 1.
func (r ViewRecord) MarshalJSON() ([]byte, error) {
	known, err := json.Marshal(plainRecord(r))
	if err != nil || len(r.Extra) == 0 {
		return known, err
	}
	extra := map[string]json.RawMessage{}
	if err := json.Unmarshal(r.Extra, &extra); err != nil {
		return nil, fmt.Errorf("view record: extra fields: %w: %w", ErrInvalid, err)
	}
	for _, name := range recordFields {
		if _, taken := extra[name]; taken {
			return nil, fmt.Errorf("view record: the extra field %q is one of format %d: %w", name, RecordFormat, ErrInvalid)
		}
	}
	more, err := json.Marshal(extra)
	if err != nil || len(extra) == 0 {
		return known, err
	}
	known[len(known)-1] = ','
	return append(known, more[1:]...), nil
}

// UnmarshalJSON reads a record of any format; fields that format 1 does not know are kept in Extra.
// A text whose many small parts would take much more memory than its length, such as one of
// thousands of empty members, is refused. The error wraps ErrInvalid. NewView checks what the record
// says.
func (r *ViewRecord) UnmarshalJSON(data []byte) error {
	o := frugaljson.Read(data)
	var in ViewRecord
	o.Field("format", &in.Format)
	o.Field("lineage", &in.Lineage)
	o.Field("epoch", &in.Epoch)
	o.Field("revision", &in.Revision)
	o.Field("write_id", &in.WriteID)
	members := frugaljson.ReadList[plainMember](o, "members")
	in.Members = slices.Grow(in.Members, len(members))
	for _, m := range members {
		m.Member.Kinds = m.Kinds
		in.Members = append(in.Members, m.Member)
	}
	in.Departed = frugaljson.ReadList[Departure](o, "departed")
	in.Changes = frugaljson.ReadList[Change](o, "changes")
	in.Suspicions = frugaljson.ReadList[Suspicion](o, "suspicions")
	var err error
	if in.Extra, err = o.Rest(); err != nil {
		return fmt.Errorf("view record: %w: %w", err, ErrInvalid)
	}
	*r = in
	return nil
}

// plainMember is a Member that is read with its list of kinds at once.
type plainMember struct {
	Member
	Kinds frugaljson.Names `json:"kinds"`
}
