package consul

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
)

// rows are the members that count among the services of a cluster, and what is wrong with others. Of several
// with one ID or one address the one that was registered last counts.
func rows(cluster string, services []*api.ServiceEntry) (core.Members, []error) {
	var all []core.Member
	var errs []error
	for _, s := range services {
		if s == nil || s.Service == nil || len(s.Checks) == 0 || s.Service.Meta[ownerKey] == Record.String() {
			continue
		}
		m, err := row(cluster, s.Service)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if counts(m, s.Checks) {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b core.Member) int { return cmp.Or(cmp.Compare(b.Joined, a.Joined), cmp.Compare(b.ID, a.ID)) })
	var out []core.Member
	ids, addresses := map[core.MemberID]bool{}, map[string]bool{}
	for _, m := range all {
		if !ids[m.ID] && !addresses[m.Address] {
			out = append(out, m)
		}
		ids[m.ID], addresses[m.Address] = true, true
	}
	return core.NewMembers(out...), errs
}

// counts reports whether checks say that m is alive. They are those of the service and of its node.
func counts(m core.Member, checks api.HealthChecks) bool {
	for _, c := range checks {
		if c == nil {
			return false
		}
	}
	status := checks.AggregatedStatus()
	return status == api.HealthPassing || m.Status == core.Joining && status == api.HealthWarning
}

// row is the member that a service stands for. A service of Proto.Actor is Up, of the plain protocol.
func row(cluster string, s *api.AgentService) (core.Member, error) {
	if s.Port < 1 || s.Port > 65535 || s.Address == "" {
		return core.Member{}, fmt.Errorf("the service %q has host %q and port %d: %w", s.ID, s.Address, s.Port, core.ErrInvalid)
	}
	m := core.Member{
		ID: core.MemberID(s.Meta[idKey]), Address: net.JoinHostPort(s.Address, strconv.Itoa(s.Port)), Status: core.Up, Joined: s.CreateIndex,
	}
	if m.ID == "" {
		m.ID = core.MemberID(cluster + "@" + m.Address)
	}
	kinds := slices.Clone(s.Tags)
	slices.Sort(kinds)
	m.Kinds = slices.Compact(kinds)
	if err := extras(&m, s.Meta); err != nil {
		return core.Member{}, fmt.Errorf("the service %q has meta data %q: %w", s.ID, err, core.ErrInvalid)
	}
	return m, nil
}

// extras reads what Proto.Actor's members do not write.
func extras(m *core.Member, meta map[string]string) error {
	if text := meta[statusKey]; text != "" {
		at := slices.IndexFunc([]core.Status{core.Joining, core.Up, core.Leaving}, func(s core.Status) bool { return s.String() == text })
		if at < 0 {
			return fmt.Errorf("%s=%s", statusKey, text)
		}
		m.Status = core.Joining + core.Status(at)
	}
	if text := meta[weightKey]; text != "" {
		weight, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("%s=%s", weightKey, text)
		}
		m.Weight = uint16(weight)
	}
	if text := meta[protocolKey]; text != "" {
		low, high, _ := strings.Cut(text, "-")
		least, err1 := strconv.ParseUint(low, 10, 16)
		most, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("%s=%s", protocolKey, text)
		}
		m.Protocol = core.Protocol{Min: uint16(least), Max: uint16(most)}
	}
	return nil
}
