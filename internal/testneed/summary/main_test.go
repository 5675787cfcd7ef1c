package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		name, in string
		ok       bool
		want     []string
	}{
		{"pass and skip", `{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"B","Output":"    x_test.go:1: SKIP: no tool\n"}
{"Action":"skip","Package":"p","Test":"B"}
{"Action":"pass","Package":"p","Elapsed":1.5}`, true, []string{"SKIP: no tool (1 tests)", "1 passed, 0 failed, 1 skipped"}},
		{"failure shows its output", `{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"B","Output":"want 1\n"}
{"Action":"fail","Package":"p","Test":"B"}
{"Action":"fail","Package":"p"}`, false, []string{"FAIL p B\nwant 1", "1 passed, 1 failed, 0 skipped"}},
		{"build failure", `{"Action":"build-output","ImportPath":"p","Output":"x.go:1: syntax\n"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`, false, []string{"x.go:1: syntax", "0 passed, 1 failed"}},
		{"no test at all", ``, false, []string{"0 passed, 0 failed, 0 skipped"}},
		{"not JSON", "go: oops", false, []string{"go: oops"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := run(strings.NewReader(test.in), &out)
			if err != nil || ok != test.ok {
				t.Errorf("run = %v, %v; want %v", ok, err, test.ok)
			}
			for _, w := range test.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("output lacks %q:\n%s", w, out.String())
				}
			}
		})
	}
}
