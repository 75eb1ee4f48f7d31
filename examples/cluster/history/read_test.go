package history

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func everything(string) bool { return true }

// written writes records as the processes of a run do, and reads them again.
func written(t *testing.T, s scene) string {
	t.Helper()
	dir := t.TempDir()
	writeScene(t, dir, "all", s)
	return dir
}

// writeScene writes records as one process does.
func writeScene(t *testing.T, dir, name string, s scene) {
	t.Helper()
	w, err := Create(dir, name, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s {
		switch r.Event {
		case Called:
			w.Call(r)
		case Handled:
			w.Handle(r.Member, r.Request, r.ID, r.Activation)
		default:
			w.Write(r)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWrittenRunIsJudgedTheSame(t *testing.T) {
	want := goodRun().judge(t)
	got, err := Judge(written(t, goodRun()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("from files %+v\nfrom memory %+v", *got, *want)
	}
}

func TestLineThatAKillCutOff(t *testing.T) {
	dir := written(t, goodRun())
	f, err := os.OpenFile(filepath.Join(dir, "all.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `{"ns":3,"event":"hand`)
	f.Close()
	if s, err := Judge(dir); err != nil || !s.OK {
		t.Errorf("summary %+v, error %v", s, err)
	}
}

func TestJudgeRefusesWhatIsNoHistory(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nonsense", "nonsense\n{}\n", "x.jsonl:1"},
		{"broken hot line", "{\"event\":\"config\",\"config\":{\"seed\":1}}\n{\"ns\":1,\"event\":\"call\"}\n{\"ns\":1,\"event\":\"call\",\"request\":}\n", "x.jsonl:3"},
		{"long line", `{"event":"` + strings.Repeat("x", longest), "x.jsonl:1"},
		{"no config", `{"ns":1,"event":"left"}` + "\n", "no config"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "x.jsonl"), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Judge(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := Judge(t.TempDir()); err == nil {
		t.Error("an empty folder was judged")
	}
	if _, err := Judge(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing folder was judged")
	}
}

// The quick reader and encoding/json read the same from each line that the quick one accepts.
func TestQuickReaderAgreesWithJSON(t *testing.T) {
	lines := []string{
		`{"ns":1,"member":"m","event":"handled","request":4294967297,"id":"K/1","activation":"a"}`,
		`{"ns":1,"member":"caller","event":"call","request":7,"id":"K/1","start":1,"end":2,"outcome":"ok","delivery":"delivered","activation":"a"}`,
		`{"ns":12,"member":"m","event":"activated","id":"K/1","activation":"a","token":"0"}`,
		`{"event":"deactivated","ns":12,"member":"m","id":"K/1","activation":"a"}`,
		`{"ns":12,"event":"activated","id":"K/\"quoted\" é"}`,
		`{"ns": 12, "event": "activated"}`,
		`{"ns":-3,"event":"call"}`, `{"ns":0,"event":"call"}`, `{"ns":999999999999999999,"event":"call"}`,
		`{}`, `{"members":["a","b"],"event":"topology"}`, `{"config":{"seed":3},"event":"config"}`,
		`{"ns":1.5}`, `{"ns":01}`, `{"ns":"1"}`, `{"event":3}`, `{"ns":1,}`, `{"ns":1`, `{"ns":1}}`, `{"ns":99999999999999999999}`, ``, `{`,
	}
	l := newLines()
	for _, line := range lines {
		var want, got Record
		wantErr := json.Unmarshal([]byte(line+"\n"), &want)
		gotErr := l.decode(eventOf([]byte(line)), []byte(line+"\n"), &got)
		if (wantErr == nil) != (gotErr == nil) {
			t.Errorf("%s: error %v, encoding/json says %v", line, gotErr, wantErr)
			continue
		}
		if want.Event == Called || want.Event == Handled {
			want.Activation, want.Member = "", "" // not read
		}
		want.Token = ""
		if wantErr == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
	var r Record
	if !l.flat([]byte(lines[0]+"\n"), &r) || !l.flat([]byte(lines[1]+"\n"), &r) || !l.flat([]byte(lines[2]+"\n"), &r) {
		t.Error("the frequent lines are not read quickly")
	}
}

func TestTextsAreQuotedAsJSON(t *testing.T) {
	for _, text := range []string{"plain", `"quoted"`, `back\slash`, "é", "\x00\n\x7f", "\xff"} {
		line := appendText([]byte(`{"ns":1`), "id", text)
		var r Record
		if err := json.Unmarshal(append(line, '}'), &r); err != nil {
			t.Errorf("%q: %v", text, err)
		} else if want := strings.ToValidUTF8(text, "\ufffd"); r.ID != want {
			t.Errorf("%q was read as %q", text, r.ID)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir, "m1", true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := Create(dir, "m1", true); err == nil {
		t.Error("the records of two runs may be mixed in one file")
	}
	if _, err := Create(filepath.Join(dir, "missing"), "m1", true); err == nil {
		t.Error("a missing folder was accepted")
	}
}

// Many calls are read in a stream: what is kept of a call is a few bits.
func BenchmarkJudge(b *testing.B) {
	dir := b.TempDir()
	w, err := Create(dir, "all", false)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range goodRun() {
		if !frequent(r.Event) {
			w.Write(r)
		}
	}
	const calls = 200_000
	for n := range int64(calls) {
		request := uint64(1+n%64)<<32 | uint64(1+n/64)
		id := fmt.Sprintf("Counter/%d", n%10000)
		w.Handle("hvJWQEgvkwVrNKSZ3vaGNs", request, id, "hvJWQEgvkwVrNKSZ3vaGNs/g/123456")
		w.Call(Record{Member: "caller", Request: request, ID: id, Start: second + n, End: second + n + 1e6, Outcome: OK, Delivery: delivered, Activation: "hvJWQEgvkwVrNKSZ3vaGNs/g/123456"})
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Judge(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/call")
}

// All processes have one clock.
func TestNowIsTheMonotonicClock(t *testing.T) {
	const tolerance = int64(time.Millisecond)
	for i := range 200 {
		w, err := Create(t.TempDir(), strconv.Itoa(i), true)
		if err != nil {
			t.Fatal(err)
		}
		before, err := monotonic()
		now := w.Now()
		after, err2 := monotonic()
		if err != nil || err2 != nil || now < before-tolerance || now > after+tolerance {
			t.Errorf("%d, want %d to %d; errors %v, %v", now, before, after, err, err2)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Who cannot wait is told what the records that were read show, and what was not judged.
func TestJudgeUntil(t *testing.T) {
	twice := goodRun() // some thousand records, and at their end what is wrong whatever the rest says
	for i := range 3 * perQuestion {
		r := Record{Member: "a", Event: Handled, Request: 9<<32 | uint64(i+1), ID: "K/x"}
		twice.add(5, r)
		if i == 2*perQuestion+100 {
			twice.add(5, r)
		}
	}
	dir := t.TempDir()
	driver := scene{}
	driver = append(driver, twice...)
	rest := slices.Clone(twice)
	driver.without(func(r Record) bool { return frequent(r.Event) || r.Event == Topology })
	rest.without(func(r Record) bool { return !frequent(r.Event) && r.Event != Topology })
	writeScene(t, dir, "driver", driver)
	writeScene(t, dir, "a", rest)
	whole, err := Judge(dir)
	if err != nil || whole.ExecutedTwice != 1 || whole.OK {
		t.Fatalf("%+v, %v", whole, err)
	}
	questions := 0
	if _, err := JudgeUntil(dir, func() bool { questions++; return false }); err != nil {
		t.Fatal(err)
	}
	if questions != 8 { // in each of two passes at the begin of the file, and three times within
		t.Fatalf("asked %d times", questions)
	}
	for n := 1; n <= questions; n++ {
		left := n
		s, err := JudgeUntil(dir, func() bool { left--; return left == 0 })
		if err != nil {
			t.Fatal(err)
		}
		if last := s.Reasons[len(s.Reasons)-1]; last != notJudged {
			t.Errorf("cut at %d: reasons %q", n, s.Reasons)
		}
		if s.OK != (len(s.Reasons) == 1) || s.AnsweredNotRun != 0 || len(s.IdentitiesChecked) != 0 || s.RecoverySeconds != nil || s.CallsPerSecond != 0 {
			t.Errorf("cut at %d: %+v", n, s)
		}
		if seen := n == questions; seen != (s.ExecutedTwice == 1) || seen == s.OK {
			t.Errorf("cut at %d: run twice %d, ok %v", n, s.ExecutedTwice, s.OK)
		}
		if events := n > questions/2; events != (s.Kills == 1 && s.Joins == 1 && s.Members == 3 && s.FormSeconds != nil && s.DetectSeconds != nil) {
			t.Errorf("cut at %d: kills %d, joins %d, members %d, formed %v, detected %v", n, s.Kills, s.Joins, s.Members, s.FormSeconds, s.DetectSeconds)
		}
	}
}
