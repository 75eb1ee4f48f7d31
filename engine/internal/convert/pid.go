package convert

import (
	"fmt"
	"strings"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/actorpb"
)

// Bounds of what a peer may name, in bytes. Proto.Actor sets none; these leave room for the longest
// names that its providers and its grains make.
const (
	MaxAddress   = 261   // a DNS name, a colon, a port, and brackets
	MaxMemberID  = 512   // "cluster@host:port" of some providers
	MaxProcessID = 1_024 // a kind, a key and what surrounds them
)

// PIDToProto is the wire form of p.
func PIDToProto(p core.PID) *actorpb.PID {
	return &actorpb.PID{Address: p.Address, Id: p.ID, Member: string(p.Member)}
}

// PIDFromProto is the PID that p names. A Proto.Actor peer sends no member: memberAt then tells who
// is at the address, by the present view or by the connection; nil, or an empty answer, leaves the
// member empty.
func PIDFromProto(p *actorpb.PID, memberAt func(address string) core.MemberID) (core.PID, error) {
	if p == nil {
		return core.PID{}, fmt.Errorf("pid: absent: %w", core.ErrInvalid)
	}
	if err := checkAddress(p.GetAddress()); err != nil {
		return core.PID{}, fmt.Errorf("pid: %w", err)
	}
	if id := p.GetId(); id == "" || len(id) > MaxProcessID {
		return core.PID{}, fmt.Errorf("pid at %q: process ID %.80q of %d bytes, want 1 to %d: %w",
			p.GetAddress(), id, len(id), MaxProcessID, core.ErrInvalid)
	}
	member := core.MemberID(p.GetMember())
	if member == "" && memberAt != nil {
		member = memberAt(p.GetAddress())
	}
	if member != "" {
		if err := checkMemberID(string(member)); err != nil {
			return core.PID{}, fmt.Errorf("pid at %q: %w", p.GetAddress(), err)
		}
	}
	return core.PID{Address: p.GetAddress(), ID: p.GetId(), Member: member}, nil
}

// checkAddress bounds an address. It does not parse it: an address is compared as text, and only
// the transport takes it apart.
func checkAddress(address string) error {
	if address == "" || len(address) > MaxAddress || strings.ContainsFunc(address, notPlain) {
		return fmt.Errorf("address %.80q of %d bytes, want 1 to %d without spaces and control characters: %w",
			address, len(address), MaxAddress, core.ErrInvalid)
	}
	return nil
}

func checkMemberID(id string) error {
	if id == "" || len(id) > MaxMemberID || strings.ContainsFunc(id, notPlain) {
		return fmt.Errorf("member ID %.80q of %d bytes, want 1 to %d without spaces and control characters: %w",
			id, len(id), MaxMemberID, core.ErrInvalid)
	}
	return nil
}

func notPlain(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 || r == '\uFFFD' }
