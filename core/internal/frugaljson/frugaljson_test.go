package frugaljson

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestRead(t *testing.T) {
	o := Read([]byte(`{"n":7,"list":[{"A":1},{"A":2}],"b":"<","a":[ 1 ]}`))
	var n int
	o.Field("n", &n)
	o.Field("missing", &n)
	list := ReadList[struct{ A int }](o, "list")
	rest, err := o.Rest()
	if n != 7 || len(list) != 2 || cap(list) != 2 || list[1].A != 2 || string(rest) != `{"a":[1],"b":"<"}` || err != nil {
		t.Errorf("%d, %+v, %s, %v", n, list, rest, err)
	}
	if list := ReadList[int](Read([]byte(`{"a":[]}`)), "a"); list != nil {
		t.Errorf("an empty list is %v", list)
	}
	if rest, err := Read([]byte("{}")).Rest(); rest != nil || err != nil {
		t.Errorf("%s, %v", rest, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "null": "null", "an array": "[]", "half": `{"a":`, "not UTF-8": "{\"a\":\"\xff\"}",
		"too deep": `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "many fields": "{" + strings.Repeat(`"a":1,`, 100) + `"b":1}`,
		"a wrong type": `{"list":"x"}`, "many elements": `{"list":[` + strings.Repeat("{},", 5000) + "{}]}",
		"a long number": `{"n":` + strings.Repeat("1", 5000) + "}",
	} {
		o := Read([]byte(text))
		var n int
		o.Field("n", &n)
		_ = ReadList[[10]int](o, "list")
		if _, err := o.Rest(); err == nil || len(err.Error()) > 2*errorText {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]Names{`["a","b c"]`: {"a", "b c"}, `[ "a" , "é" ]`: {"a", "é"}, "[]": nil, "null": nil, `[""]`: {""}} {
		var l Names
		if err := json.Unmarshal([]byte(text), &l); err != nil || !slices.Equal(l, want) {
			t.Errorf("%s: %q, %v", text, l, err)
		}
	}
	for _, text := range []string{"1", "{}", `"a"`, "[1]", `["a",1]`, `[["a"]]`, `["\u0061"]`, `["a<b"]`, `[{"a":1}]`} {
		var l Names
		if err := json.Unmarshal([]byte(text), &l); err == nil {
			t.Errorf("%s was read as %q", text, l)
		}
	}
}

func TestShape(t *testing.T) {
	for text, want := range map[string]shape{
		`{"a":1,"b":[1,2,[3]],"c":{"d":[1]}}`:    {depth: 3, fields: 3, inner: 5},
		`[1, "a,[\"", {"b":[1,2]}, [true,null]]`: {depth: 3, elements: 4, inner: 4},
		"":                                       {}, "]]]": {},
	} {
		s := shapeOf([]byte(text))
		s.level, s.arrays = 0, 0
		if s != want {
			t.Errorf("%s: %+v, want %+v", text, s, want)
		}
	}
}
