package convert

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

// MaxKinds is the greatest number of kinds that a member may list.
const MaxKinds = 1_024

// MemberToProto is the wire form of m. It fails if m's address is not a host and a port from 1 to
// 65535, since the wire holds them apart.
func MemberToProto(m core.Member) (*clusterpb.Member, error) {
	host, text, err := net.SplitHostPort(m.Address)
	if err != nil {
		return nil, fmt.Errorf("member %q: address %q: %w: %w", m.ID, m.Address, core.ErrInvalid, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || host == "" || port == 0 || strconv.FormatUint(port, 10) != text {
		return nil, fmt.Errorf("member %q: address %q, want a host and a port from 1 to 65535: %w", m.ID, m.Address, core.ErrInvalid)
	}
	return &clusterpb.Member{
		Host:        host,
		Port:        int32(port),
		Id:          string(m.ID),
		Kinds:       slices.Clone(m.Kinds),
		Status:      granarypb.MemberStatus(m.Status),
		Joined:      m.Joined,
		Weight:      uint32(m.Weight),
		ProtocolMin: uint32(m.Protocol.Min),
		ProtocolMax: uint32(m.Protocol.Max),
	}, nil
}

// MemberFromProto is the member that m describes, its kinds sorted and without repeats. A member of
// Proto.Actor says no status: it is Up.
func MemberFromProto(m *clusterpb.Member) (core.Member, error) {
	if err := checkMember(m); err != nil {
		return core.Member{}, err
	}
	kinds := slices.Clone(m.GetKinds())
	slices.Sort(kinds)
	status := core.Status(m.GetStatus())
	if status == 0 {
		status = core.Up
	}
	return core.Member{
		ID:       core.MemberID(m.GetId()),
		Address:  net.JoinHostPort(m.GetHost(), strconv.Itoa(int(m.GetPort()))),
		Kinds:    slices.Compact(kinds),
		Status:   status,
		Joined:   m.GetJoined(),
		Weight:   uint16(m.GetWeight()),
		Protocol: core.Protocol{Min: uint16(m.GetProtocolMin()), Max: uint16(m.GetProtocolMax())},
	}, nil
}

func checkMember(m *clusterpb.Member) error {
	if m == nil {
		return fmt.Errorf("member: absent: %w", core.ErrInvalid)
	}
	if err := checkMemberID(m.GetId()); err != nil {
		return fmt.Errorf("member: %w", err)
	}
	bad := func(what string, value any) error {
		return fmt.Errorf("member %q: %s %v: %w", m.GetId(), what, value, core.ErrInvalid)
	}
	switch {
	case m.GetHost() == "" || len(m.GetHost()) > MaxAddress:
		return bad("host", fmt.Sprintf("%.80q", m.GetHost()))
	case m.GetPort() < 1 || m.GetPort() > math.MaxUint16:
		return bad("port", m.GetPort())
	case m.GetStatus() < 0 || m.GetStatus() > granarypb.MemberStatus_MEMBER_STATUS_LEAVING:
		return bad("status", int32(m.GetStatus()))
	case m.GetWeight() > math.MaxUint16:
		return bad("weight", m.GetWeight())
	case m.GetProtocolMin() > m.GetProtocolMax() || m.GetProtocolMax() > math.MaxUint16:
		return bad("protocol range", fmt.Sprintf("%d to %d", m.GetProtocolMin(), m.GetProtocolMax()))
	case len(m.GetKinds()) > MaxKinds:
		return bad("number of kinds", len(m.GetKinds()))
	}
	if host, _, err := net.SplitHostPort(net.JoinHostPort(m.GetHost(), "1")); err != nil || host != m.GetHost() {
		return bad("host", fmt.Sprintf("%.80q", m.GetHost()))
	}
	if err := checkAddress(m.GetHost()); err != nil {
		return fmt.Errorf("member %q: %w", m.GetId(), err)
	}
	return checkKinds(m)
}

// checkKinds bounds the names only: Proto.Actor members list tags of any form among their kinds.
func checkKinds(m *clusterpb.Member) error {
	for _, kind := range m.GetKinds() {
		if kind == "" || len(kind) > core.MaxKind {
			return fmt.Errorf("member %q: kind %.80q of %d bytes, want 1 to %d: %w", m.GetId(), kind, len(kind), core.MaxKind, core.ErrInvalid)
		}
	}
	return nil
}
