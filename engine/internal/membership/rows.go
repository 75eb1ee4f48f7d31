package membership

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/granary-go/granary/core"
)

// Rejected is a row that nobody can reach.
type Rejected struct {
	Member core.Member
	Reason string
}

// reject finds the rows of report that nobody can reach, and have not been told of since they came.
func (r *Reducer) reject(report *core.View) (out []Rejected) {
	seen := map[core.MemberID]bool{}
	for m := range report.All() {
		reason := unreachable(m.Address)
		if reason == "" {
			continue
		}
		seen[m.ID] = true
		if !r.told[m.ID] {
			out = append(out, Rejected{Member: m, Reason: reason})
		}
	}
	r.told = seen
	return out
}

// unreachable tells why nobody can be reached at address; empty if somebody may be.
func unreachable(address string) string {
	// Not net.SplitHostPort: Proto.Actor writes IPv6 without brackets.
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return "its address is no host:port"
	}
	host, port := strings.Trim(address[:colon], "[]"), address[colon+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "its port is not within 1 to 65535"
	}
	if host == "" {
		return "its address has no host"
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return "its address is no host's"
	}
	return ""
}

func addressesOf(rows []core.Member) map[string]bool {
	out := make(map[string]bool, len(rows))
	for _, m := range rows {
		out[m.Address] = true
	}
	return out
}

// all walks the members of v, which may be nil.
func all(v *core.View) iter.Seq[core.Member] {
	if v == nil {
		return func(func(core.Member) bool) {}
	}
	return v.All()
}

// without are those of a that are not in b; both ascend.
func without(a, b []core.MemberID) (out []core.MemberID) {
	for _, id := range a {
		if _, found := slices.BinarySearch(b, id); !found {
			out = append(out, id)
		}
	}
	return out
}
