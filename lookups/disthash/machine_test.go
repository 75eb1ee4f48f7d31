package disthash

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

// The machine says what a Lookup says.
func TestMachineIsTheLookup(t *testing.T) {
	m := NewMachine("member-0", time.Second)
	if _, ok := m.Owner(identity(1)); ok || m.Owns(identity(1)) || !m.Held(identity(1)) || m.Waiting() != nil || m.Tables() != 0 {
		t.Error("something is known before the first view")
	}
	m.Settled(noon, "member-1")
	if m.Overdue(noon) != nil {
		t.Error("somebody is overdue before the first view")
	}
	joining := with(member(0, "Cart"), func(m *core.Member) { m.Status = core.Joining })
	views := []*core.View{view(t, joining, member(1, "Cart"), member(2, "Cart")), view(t, members(3)...)}
	want := after(t, "member-0", views...)
	for _, v := range views {
		m.Install(v, noon)
	}
	for i := range 300 {
		id := identity(i)
		owner, _ := want.now.owner(id)
		if got, ok := m.Owner(id); !ok || got.ID != owner.ID || m.Owns(id) != (owner.ID == "member-0") || m.Held(id) != (!m.Owns(id) || want.held(id)) {
			t.Fatalf("%v: owner %v, want %v", id, got, owner)
		}
	}
	if got := m.Waiting(); !slices.Equal(got, []core.MemberID{"member-1", "member-2"}) || m.Tables() != 1 {
		t.Errorf("waits for %v with %d tables", got, m.Tables())
	}
	if got := m.Overdue(noon.Add(time.Second)); !slices.Equal(got, m.Waiting()) {
		t.Errorf("overdue: %v", got)
	}
	m.Settled(noon.Add(time.Minute), "member-1", "member-2")
	if m.Waiting() != nil || m.Tables() != 0 {
		t.Errorf("waits for %v with %d tables", m.Waiting(), m.Tables())
	}
	if _, ok := m.Owner(core.Identity{Kind: "Nobody", Key: "k"}); ok {
		t.Error("an owner of a kind that nobody hosts")
	}
}

func ExampleMachine() {
	row := func(id core.MemberID, s core.Status) core.Member {
		return core.Member{ID: id, Address: string(id) + ":1", Kinds: []string{"Cart"}, Status: s}
	}
	now := time.Unix(0, 0)
	m := NewMachine("b", 0)
	for _, status := range []core.Status{core.Joining, core.Up} {
		v, err := core.NewView(core.ViewRecord{Members: []core.Member{row("a", core.Up), row("b", status)}})
		if err != nil {
			fmt.Println(err)
			return
		}
		m.Install(v, now)
	}
	fmt.Println("waits for", m.Waiting())
	m.Settled(now, "a")
	fmt.Println("waits for", m.Waiting())
	// Output:
	// waits for [a]
	// waits for []
}
