package core

import (
	"encoding/json"
	"fmt"
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

// UnmarshalJSON reads a record of any format; fields that format 1 does not know are kept in Extra,
// at most 64 of them. It allocates at most about eight times the length of data: a text that would
// need more, such as one of thousands of empty members, is refused. The error wraps ErrInvalid.
// NewView checks what the record says.
func (r *ViewRecord) UnmarshalJSON(data []byte) error {
	d, err := newRecordDecoder(data)
	if err != nil {
		return fmt.Errorf("view record: %.200v: %w", err, ErrInvalid)
	}
	var in plainRecord
	var members []plainMember
	targets := [...]any{&in.Format, &in.Lineage, &in.Epoch, &in.Revision, &in.WriteID, &members, &in.Departed, &in.Changes, &in.Suspicions}
	for i, name := range recordFields {
		if err := d.field(name, targets[i]); err != nil {
			return fmt.Errorf("view record: %s: %.200v: %w", name, err, ErrInvalid)
		}
	}
	if in.Extra, err = d.rest(); err != nil {
		return fmt.Errorf("view record: extra fields: %.200v: %w", err, ErrInvalid)
	}
	in.Members = membersOf(members)
	*r = ViewRecord(in)
	return nil
}
