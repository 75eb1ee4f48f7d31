package convert

import (
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/granary-go/granary/core"
)

// eachFile reads every file that matches pattern, in testdata and in the folders that
// GRANARY_VECTORS lists, so that a new vector needs no code.
func eachFile[T any](t *testing.T, pattern string, f func(t *testing.T, content T)) {
	t.Helper()
	var n int
	for _, dir := range append([]string{"testdata"}, filepath.SplitList(os.Getenv("GRANARY_VECTORS"))...) {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			n++
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var content T
			if err := json.Unmarshal(data, &content); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			t.Run(filepath.Base(path), func(t *testing.T) { f(t, content) })
		}
	}
	if n == 0 {
		t.Fatalf("no file %s in testdata", pattern)
	}
}

func TestMurmur3Vectors(t *testing.T) {
	type vector struct {
		Input string `json:"input_utf8"`
		Hash  string `json:"murmur3_x64_128_h1_seed0_hex"`
	}
	eachFile(t, "murmur3*.json", func(t *testing.T, vectors []vector) {
		for _, v := range vectors {
			want, err := strconv.ParseUint(v.Hash, 16, 64)
			if err != nil {
				t.Fatalf("%q: %v", v.Input, err)
			}
			if got := murmur3([]byte(v.Input)); got != want {
				t.Errorf("murmur3(%q) = %016x, want %016x", v.Input, got, want)
			}
		}
	})
}

func TestTopologyHashVectors(t *testing.T) {
	type vector struct {
		Name    string `json:"name"`
		Members []struct {
			ID core.MemberID `json:"id"`
		} `json:"members_in_given_order"`
		Joined string `json:"concatenated_utf8"`
		Hash   string `json:"topology_hash"`
		Hex    string `json:"topology_hash_hex"`
	}
	eachFile(t, "topology_hash*.json", func(t *testing.T, vectors []vector) {
		for _, v := range vectors {
			var ids []core.MemberID
			for _, m := range v.Members {
				ids = append(ids, m.ID)
			}
			given := slices.Clone(ids)
			got := TopologyHash(ids)
			if strconv.FormatUint(got, 10) != v.Hash || got != parseHex(t, v.Hex) {
				t.Errorf("%s: hash = %d (%016x), want %s (%s)", v.Name, got, got, v.Hash, v.Hex)
			}
			if !slices.Equal(ids, given) {
				t.Errorf("%s: the order of the argument was changed to %q", v.Name, ids)
			}
			if got := murmur3([]byte(v.Joined)); got != parseHex(t, v.Hex) {
				t.Errorf("%s: hash of %q = %016x, want %s", v.Name, v.Joined, got, v.Hex)
			}
			rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			if again := TopologyHash(ids); again != got {
				t.Errorf("%s: hash of %q = %016x, want %016x as in any order", v.Name, ids, again, got)
			}
		}
	})
}

func TestIDVectors(t *testing.T) {
	type vectors struct {
		Short []struct {
			UUID  string `json:"uuid"`
			Short string `json:"short"`
		} `json:"shortuuid"`
		ShortAlphabet string `json:"shortuuid_alphabet"`
		Example       string `json:"example_actor_system_id"`
		Processes     []struct {
			N  uint64 `json:"n"`
			ID string `json:"id"`
		} `json:"process_ids"`
		First           []string `json:"process_ids_first"`
		InitialSeq      uint64   `json:"process_id_initial_seq"`
		ProcessAlphabet string   `json:"process_id_alphabet"`
	}
	eachFile(t, "ids*.json", func(t *testing.T, v vectors) {
		if v.ShortAlphabet != "" && v.ShortAlphabet != shortDigits {
			t.Errorf("digits of base 57 = %q, want %q", shortDigits, v.ShortAlphabet)
		}
		if v.ProcessAlphabet != "" && v.ProcessAlphabet != processDigits {
			t.Errorf("digits of base 64 = %q, want %q", processDigits, v.ProcessAlphabet)
		}
		for _, s := range v.Short {
			checkShortUUID(t, s.UUID, s.Short)
		}
		if v.Example != "" {
			if _, err := ParseShortUUID(v.Example); err != nil {
				t.Errorf("the example: %v", err)
			}
		}
		for _, p := range v.Processes {
			checkProcessID(t, p.N, p.ID)
		}
		for i, id := range v.First {
			checkProcessID(t, v.InitialSeq+uint64(i)+1, id)
		}
	})
}

func checkShortUUID(t *testing.T, uuid, short string) {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(raw) != 16 {
		t.Fatalf("UUID %q: %v", uuid, err)
	}
	id := [16]byte(raw)
	if got := ShortUUID(id); got != short {
		t.Errorf("ShortUUID(%s) = %q, want %q", uuid, got, short)
	}
	if got, err := ParseShortUUID(short); err != nil || got != id {
		t.Errorf("ParseShortUUID(%q) = %x, %v, want %x", short, got, err, id)
	}
}

func checkProcessID(t *testing.T, n uint64, id string) {
	t.Helper()
	if got := ProcessID(n); got != id {
		t.Errorf("ProcessID(%d) = %q, want %q", n, got, id)
	}
	if got, err := ParseProcessID(id); err != nil || got != n {
		t.Errorf("ParseProcessID(%q) = %d, %v, want %d", id, got, err, n)
	}
}

func parseHex(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
