package disthash

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/granary-go/granary/core"
)

func member(i int, kinds ...string) core.Member {
	return core.Member{ID: core.MemberID(fmt.Sprintf("member-%d", i)), Address: fmt.Sprintf("10.0.0.%d:7000", i), Kinds: kinds, Status: core.Up}
}

func view(t testing.TB, ms ...core.Member) *core.View {
	t.Helper()
	v, err := core.NewView(core.ViewRecord{Members: ms})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func members(n int) []core.Member {
	var out []core.Member
	for i := range n {
		out = append(out, member(i, "Cart"))
	}
	return out
}

func identity(i int) core.Identity { return core.Identity{Kind: "Cart", Key: "key-" + strconv.Itoa(i)} }

// rendezvousVectors is one file of Proto.Actor's vectors.
type rendezvousVectors struct {
	Sets map[string][]struct {
		ID    string   `json:"id"`
		Host  string   `json:"host"`
		Port  int      `json:"port"`
		Kinds []string `json:"kinds"`
	} `json:"member_sets"`
	Vectors []rendezvousVector `json:"vectors"`
}

type rendezvousVector struct {
	Set      string `json:"member_set"`
	Kind     string `json:"kind"`
	Identity string `json:"identity"`
	Scores   []struct {
		Member  string `json:"member_id"`
		Address string `json:"address"`
		Score   uint32 `json:"score"`
	} `json:"scores_in_evaluation_order"`
	Owner string `json:"owner_address"`
}

// Proto.Actor's vectors, of testdata and of the folders that GRANARY_VECTORS lists.
func TestCompatVectors(t *testing.T) {
	tried := 0
	for _, dir := range append([]string{"testdata"}, filepath.SplitList(os.Getenv("GRANARY_VECTORS"))...) {
		files, err := filepath.Glob(filepath.Join(dir, "rendezvous*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			tried += compatVectors(t, path)
		}
	}
	if tried == 0 {
		t.Fatal("no vectors")
	}
}

func compatVectors(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file rendezvousVectors
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, v := range file.Vectors {
		var ms []core.Member
		for _, m := range file.Sets[v.Set] {
			ms = append(ms, core.Member{ID: core.MemberID(m.ID), Address: m.Host + ":" + strconv.Itoa(m.Port), Kinds: m.Kinds, Status: core.Up})
		}
		table := newTable(view(t, ms...), true)
		for _, s := range v.Scores {
			if got := fnv1a(fnv1a(fnvBasis, v.Identity), s.Address); got != s.Score {
				t.Errorf("%s: %s %q at %s: score %d, want %d", path, v.Set, v.Identity, s.Address, got, s.Score)
			}
		}
		got := ""
		if m, ok := table.owner(core.Identity{Kind: v.Kind, Key: v.Identity}); ok {
			got = m.Address
		}
		if got != v.Owner {
			t.Errorf("%s: %s %s/%q: owner %q, want %q", path, v.Set, v.Kind, v.Identity, got, v.Owner)
		}
	}
	return len(file.Vectors)
}

// Of equal scores the smaller ID wins; the address alone decides, so members at one address tie.
func TestCompatTies(t *testing.T) {
	a, b := member(1, "Cart"), member(2, "Cart")
	b.Address = a.Address
	for i := range 50 {
		if m, ok := newTable(view(t, b, a), true).owner(identity(i)); !ok || m.ID != a.ID {
			t.Fatalf("%v, %v", m, ok)
		}
	}
}

func TestOwnerHosts(t *testing.T) {
	joining, leaving, other := member(1, "Cart"), member(2, "Cart"), member(3, "Other")
	joining.Status, leaving.Status = core.Joining, core.Leaving
	for _, compat := range []bool{false, true} {
		table := newTable(view(t, joining, leaving, other), compat)
		if m, ok := table.owner(identity(1)); ok {
			t.Errorf("owner %v of a kind that nobody may host", m)
		}
		if m, ok := table.owner(core.Identity{Kind: "Other", Key: "k"}); !ok || m.ID != other.ID {
			t.Errorf("the only host does not own: %v, %v", m, ok)
		}
	}
}

// Four members become five: at most 1/5 + 3 % of the identities move, all of them to the fifth, and
// when it goes again all go back.
func TestFifthMemberMovesAFifth(t *testing.T) {
	const n = 40_000
	four, five := newTable(view(t, members(4)...), false), newTable(view(t, members(5)...), false)
	moved := 0
	for i := range n {
		before, _ := four.owner(identity(i))
		after, _ := five.owner(identity(i))
		if before.ID == after.ID {
			continue
		}
		if after.ID != "member-4" {
			t.Fatalf("%v moved from %s to %s", identity(i), before.ID, after.ID)
		}
		moved++
	}
	if share := float64(moved) / n; share > 0.23 || share < 0.17 {
		t.Errorf("%.2f %% moved", 100*share)
	}
}

func TestSharesFollowWeights(t *testing.T) {
	const n = 40_000
	ms := members(4)
	ms[1].Weight, ms[2].Weight, ms[3].Weight = 100, 200, 50 // and 0 is 100
	table := newTable(view(t, ms...), false)
	owned := map[core.MemberID]int{}
	for i := range n {
		m, _ := table.owner(identity(i))
		owned[m.ID]++
	}
	for _, m := range ms {
		want := float64(weight(m)) / 450
		if got := float64(owned[m.ID]) / n; math.Abs(got-want) > 0.01 {
			t.Errorf("%s with weight %d owns %.3f, want %.3f", m.ID, m.Weight, got, want)
		}
	}
}

func TestOwnerAllocatesNothing(t *testing.T) {
	for _, compat := range []bool{false, true} {
		l, err := New(Config{Compat: compat})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Owner(identity(1)); ok {
			t.Error("an owner without a view")
		}
		l.state.Store(&state{now: newTable(view(t, members(5)...), compat)})
		id := identity(7)
		if n := testing.AllocsPerRun(1000, func() { l.Owner(id) }); n != 0 {
			t.Errorf("Owner allocates %v times", n)
		}
	}
}

func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{3, 10, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			l, err := New(Config{})
			if err != nil {
				b.Fatal(err)
			}
			l.state.Store(&state{now: newTable(view(b, members(n)...), false)})
			id := identity(7)
			b.ReportAllocs()
			for b.Loop() {
				l.Owner(id)
			}
		})
	}
}
