package convert

import (
	"fmt"
	"math"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/granarypb"
)

// TokenToProto is the wire form of t; nil for the zero Token.
func TokenToProto(t core.Token) *granarypb.Token {
	if t.IsZero() {
		return nil
	}
	return &granarypb.Token{Epoch: t.Epoch, Seq: t.Seq}
}

// TokenFromProto is the token that p holds; absent: the zero Token.
func TokenFromProto(p *granarypb.Token) core.Token {
	return core.Token{Epoch: p.GetEpoch(), Seq: p.GetSeq()}
}

// PlacementToProto is the wire form of p; nil for the zero Placement.
func PlacementToProto(p core.Placement) *granarypb.Placement {
	if p == (core.Placement{}) {
		return nil
	}
	return &granarypb.Placement{Pid: PIDToProto(p.PID), Token: TokenToProto(p.Token)}
}

// PlacementFromProto is the placement that p holds. Unlike a PID alone, it must name a member: a
// location cache is keyed by members.
func PlacementFromProto(p *granarypb.Placement) (core.Placement, error) {
	pid, err := PIDFromProto(p.GetPid(), nil)
	if err != nil {
		return core.Placement{}, fmt.Errorf("placement: %w", err)
	}
	if pid.Member == "" {
		return core.Placement{}, fmt.Errorf("placement at %q: no member: %w", pid, core.ErrInvalid)
	}
	return core.Placement{PID: pid, Token: TokenFromProto(p.GetToken())}, nil
}

// Micros is d as fields of the wire hold it: 0 means "not said", so a positive time is at least 1.
// A time that is over counts as 1.
func Micros(d time.Duration) int64 {
	return max(1, d.Microseconds())
}

// Duration is the time that a field of the wire holds. It is 0 for 0 and for what no peer of good
// will sends, and at most what a time.Duration can hold.
func Duration(micros int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Microsecond)
	return time.Duration(min(max(micros, 0), most)) * time.Microsecond
}
