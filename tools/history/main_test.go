package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quiet is a run of one member without a change: three calls of one identity.
const quiet = `{"ns":1,"event":"config","config":{"seed":7,"provider":"memberlist","lookup":"disthash","members":1,"callers":1,"identities":1,"timeoutSeconds":5,"recoverySeconds":10}}
{"ns":1000,"event":"spawned","member":"a","phase":"form"}
{"ns":2000000,"event":"topology","member":"a","hash":"1","members":["a"]}
{"ns":3000000,"event":"load","phase":"begin"}
{"ns":4000000,"event":"activated","member":"a","id":"K/x","activation":"x1"}
{"ns":4100000,"event":"handled","member":"a","request":4294967297,"id":"K/x","activation":"x1"}
{"ns":4200000,"event":"call","member":"caller","request":4294967297,"id":"K/x","start":4000000,"end":4200000,"outcome":"ok","delivery":"delivered"}
{"ns":5100000,"event":"handled","member":"a","request":4294967298,"id":"K/x","activation":"x1"}
{"ns":5200000,"event":"call","member":"caller","request":4294967298,"id":"K/x","start":5000000,"end":5200000,"outcome":"ok","delivery":"delivered"}
{"ns":6000000,"event":"load","phase":"end"}
{"ns":6100000,"event":"stopping","member":"a"}
{"ns":6150000,"event":"deactivated","member":"a","id":"K/x","activation":"x1"}
{"ns":6200000,"event":"exited","member":"a"}
{"ns":6300000,"event":"left"}
`

func judge(t *testing.T, text string) (code int, summary map[string]any, errs string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.jsonl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, diagnosis bytes.Buffer
	code = run([]string{dir}, &out, &diagnosis)
	if code == 2 {
		return code, nil, diagnosis.String()
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines of output, want one", lines)
	}
	if err := json.Unmarshal(out.Bytes(), &summary); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return code, summary, diagnosis.String()
}

func TestAGoodRun(t *testing.T) {
	code, s, errs := judge(t, quiet)
	if code != 0 || s["ok"] != true || s["calls"] != 2.0 || s["replied"] != 2.0 || s["seed"] != 7.0 || errs != "" {
		t.Errorf("exit %d, %v, %s", code, s, errs)
	}
}

func TestABadRun(t *testing.T) {
	twice := strings.Replace(quiet, `{"ns":6000000`, `{"ns":5300000,"event":"handled","member":"a","request":4294967298,"id":"K/x"}`+"\n"+`{"ns":6000000`, 1)
	code, s, errs := judge(t, twice)
	if code != 1 || s["ok"] != false || s["executedTwice"] != 1.0 || !strings.Contains(errs, "failed: ") {
		t.Errorf("exit %d, %v, %s", code, s, errs)
	}
}

func TestNothingToJudge(t *testing.T) {
	if code, _, errs := judge(t, `{"ns":1,"event":"topology","member":"a"}`+"\n"); code != 2 || !strings.Contains(errs, "config") {
		t.Errorf("no config: exit %d, %s", code, errs)
	}
	if code, _, errs := judge(t, "nonsense\n"); code != 2 || !strings.Contains(errs, "all.jsonl:1") {
		t.Errorf("nonsense: exit %d, %s", code, errs)
	}
	for _, args := range [][]string{nil, {"a", "b"}, {t.TempDir()}} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != 2 || out.Len() != 0 || errs.Len() == 0 {
			t.Errorf("%q: exit %d, %s", args, code, errs.String())
		}
	}
}
