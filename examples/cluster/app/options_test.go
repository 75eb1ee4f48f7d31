package app

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/granary-go/granary/examples/cluster/history"
)

func TestWrongUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"-nonsense", "-nonsense"},
		{"-members x", "-members"},
		{"-members 0", "-members 0"},
		{"-members 33", "1 to 32"},
		{"-members 1", "-kill needs at least 2 members"},
		{"-members 1 -rolling", "-rolling needs at least 2 members"},
		{"-members 2 -rolling -kill", "-rolling after -kill needs at least 3 members"},
		{"-callers 0", "-callers 0"},
		{"-callers 10001", "1 to 10000"},
		{"-identities 0", "-identities 0"},
		{"-identities 1000001", "1 to 1000000"},
		{"-timeout 1ms", "-timeout 1ms"},
		{"-timeout 2m", "-timeout 2m0s"},
		{"-for 100ms", "-for 100ms"},
		{"-for 48h", "-for 48h"},
		{"-provider etcd", "-provider etcd"},
		{"-lookup partition", "-lookup partition"},
		{"-level 1", "needs a lookup that keeps a directory"},
		{"-level 3", "Level 0"},
		{"-level 4", "levels are 0 to 3"},
		{"-level -1", "levels are 0 to 3"},
		{"-consul http://127.0.0.1:8500", "add that"},
		{"-provider consul -consul http://127.0.0.1:1", "127.0.0.1:1"},
		{"-provider consul -consul 127.0.0.1:1", "is an agent running there"},
		{"-provider consul -consul ://", "-consul"},
		{"-provider consul -redis 127.0.0.1:6379", "add that"},
		{"-redis 127.0.0.1:6379", "add that"},
		{"-provider redis -redis 127.0.0.1:1", "is a server running there"},
		{"-provider redis -redis nowhere", "want host:port"},
		{"-seed -1", "-seed"},
		{"extra", "unexpected argument \"extra\""},
		{"-history " + file, "-history"},
		{"-history " + filepath.Join(file, "below"), "-history"},
		{"-history /proc/nowhere", "-history"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			for _, args := range [][]string{strings.Fields(tt.args), append([]string{"-json"}, strings.Fields(tt.args)...), append(strings.Fields(tt.args), "--json=true")} {
				var out, errs bytes.Buffer
				if code := Main(args, &out, &errs, Parts{}); code != exitUsage {
					t.Errorf("%q: exit %d", args, code)
				}
				text := strings.TrimSuffix(errs.String(), "\n")
				if !strings.Contains(text, tt.want) || strings.Contains(text, "\n") {
					t.Errorf("%q: %q, want one sentence with %q", args, text, tt.want)
				}
				checkRefusal(t, len(args) > len(strings.Fields(tt.args)), out.Bytes(), text)
			}
		})
	}
}

func checkRefusal(t *testing.T, wanted bool, out []byte, sentence string) {
	t.Helper()
	if !wanted {
		if len(out) > 0 {
			t.Errorf("standard output: %s", out)
		}
		return
	}
	checkContract(t, out)
	var s history.Summary
	if err := json.Unmarshal(out, &s); err != nil || bytes.Count(out, []byte("\n")) != 1 {
		t.Fatalf("standard output is not one object: %v, %s", err, out)
	}
	if s.OK || len(s.Reasons) != 1 || s.Reasons[0] != sentence {
		t.Errorf("ok %v, reasons %q, want the sentence %q", s.OK, s.Reasons, sentence)
	}
}

func TestHelp(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Main([]string{"-h"}, &out, &errs, Parts{}); code != exitOK || out.Len() > 0 {
		t.Errorf("exit %d, standard output %q", code, out.String())
	}
	for _, flag := range []string{"members", "for", "callers", "identities", "timeout", "kill", "join", "rolling", "provider", "lookup", "level", "consul", "redis", "seed", "history", "json"} {
		if !strings.Contains(errs.String(), "  -"+flag) {
			t.Errorf("-%s is not explained", flag)
		}
	}
}

func TestWantsJSON(t *testing.T) {
	for _, tt := range []struct {
		args string
		want bool
	}{{"", false}, {"-json", true}, {"--json", true}, {"-x -json=1", true}, {"-json=false", false}, {"-json=maybe", false}, {"json", false}, {"-jsonx", false}} {
		if got := wantsJSON(strings.Fields(tt.args)); got != tt.want {
			t.Errorf("%q: %v", tt.args, got)
		}
	}
}

func TestDefaults(t *testing.T) {
	o, err := parse(nil, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	c := o.config()
	want := history.Config{Seed: 1, Provider: "memberlist", Lookup: "disthash", Members: 3, Callers: 64, Identities: 10000, TimeoutSeconds: 5, RecoverySeconds: 10, Kill: true, Join: true}
	if c != want || o.For.Seconds() != 30 || o.JSON || o.History != "" {
		t.Errorf("defaults %+v, config %+v", o, c)
	}
}

// A rolling restart comes instead of the kill and the join; with them if they are asked for.
func TestRollingComesInstead(t *testing.T) {
	for _, tt := range []struct {
		args       string
		kill, join bool
	}{{"-rolling", false, false}, {"-rolling -members 2", false, false}, {"-rolling -kill", true, false}, {"-rolling -kill=true -join", true, true}, {"-rolling -kill=false -join=false", false, false}, {"-rolling=false", true, true}} {
		o, err := parse(strings.Fields(tt.args), &bytes.Buffer{})
		if err != nil || o.Kill != tt.kill || o.Join != tt.join {
			t.Errorf("%q: error %v, kill %v, join %v", tt.args, err, o.Kill, o.Join)
		}
	}
}
