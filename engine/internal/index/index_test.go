package index_test

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/internal/index"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type thing struct{ key int }

func (t *thing) Key() int { return t.key }

// Whatever is done, a table answers as a map does, also where many keys have one hash.
func TestLikeAMap(t *testing.T) {
	seed := maphash.MakeSeed()
	hashes := map[string]func(int) uint64{
		"good": func(k int) uint64 { return maphash.Comparable(seed, k) },
		"few":  func(k int) uint64 { return maphash.Comparable(seed, k%7) },
		"one":  func(int) uint64 { return 1 << 63 },
		"none": func(int) uint64 { return 0 },
		"last": func(k int) uint64 { return uint64(1<<32-1-k%3) << 32 }, // runs that go on at the first place
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			var table index.Table[int, *thing]
			model := map[int]*thing{}
			r := rand.New(rand.NewPCG(1, 2))
			for step := range 20_000 {
				span := 40
				if step > 10_000 {
					span = 400
				}
				change(t, &table, model, r.IntN(span), hash)
			}
			check(t, &table, model, hash)
		})
	}
}

// change enters the key, or takes it out if it is there.
func change(t *testing.T, table *index.Table[int, *thing], model map[int]*thing, key int, hash func(int) uint64) {
	t.Helper()
	if got := table.Get(hash(key), key); got != model[key] {
		t.Fatalf("key %d: %v, want %v", key, got, model[key])
	}
	if old := model[key]; old != nil {
		if table.Delete(hash(key), &thing{key}) {
			t.Fatalf("key %d: another object was taken out", key)
		}
		if !table.Delete(hash(key), old) || table.Delete(hash(key), old) {
			t.Fatalf("key %d: not taken out once", key)
		}
		delete(model, key)
		return
	}
	model[key] = &thing{key}
	table.Put(hash(key), model[key])
}

func check(t *testing.T, table *index.Table[int, *thing], model map[int]*thing, hash func(int) uint64) {
	t.Helper()
	if table.Len() != len(model) {
		t.Errorf("%d objects, want %d", table.Len(), len(model))
	}
	seen := map[int]bool{}
	for v := range table.All() {
		if seen[v.key] || model[v.key] != v {
			t.Errorf("key %d is not there once", v.key)
		}
		seen[v.key] = true
	}
	if len(seen) != len(model) {
		t.Errorf("%d objects in all, want %d", len(seen), len(model))
	}
	for key := range 400 {
		if got := table.Get(hash(key), key); got != model[key] {
			t.Errorf("key %d: %v, want %v", key, got, model[key])
		}
	}
	for range table.All() { // a walk may stop
		break
	}
}

type named struct{ name string }

func (n *named) Key() string { return n.name }

func Example() {
	seed := maphash.MakeSeed()
	var table index.Table[string, *named]
	for i := range 3 {
		n := &named{"n" + strconv.Itoa(i)}
		table.Put(maphash.String(seed, n.name), n)
	}
	fmt.Println(table.Get(maphash.String(seed, "n1"), "n1").name, table.Get(maphash.String(seed, "x"), "x") == nil)
	var all []string
	for n := range table.All() {
		all = append(all, n.name)
	}
	slices.Sort(all)
	fmt.Println(all)
	// Output:
	// n1 true
	// [n0 n1 n2]
}

func BenchmarkGet(b *testing.B) {
	seed := maphash.MakeSeed()
	var table index.Table[string, *named]
	names := make([]string, 10_000)
	for i := range names {
		names[i] = strconv.Itoa(i)
		table.Put(maphash.String(seed, names[i]), &named{names[i]})
	}
	i := 0
	for b.Loop() {
		name := names[i%len(names)]
		if table.Get(maphash.String(seed, name), name) == nil {
			b.Fatal(name)
		}
		i++
	}
}
