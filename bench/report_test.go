package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	tests := []struct {
		values []float64
		want   string
	}{
		{[]float64{3}, "3.0 (3.0-3.0)"},
		{[]float64{5, 1}, "3.0 (1.0-5.0)"},
		{[]float64{9, 1, 2}, "2.0 (1.0-9.0)"},
		{[]float64{4, 1, 2, 30}, "3.0 (1.0-30.0)"},
	}
	for _, test := range tests {
		if got := spread("%.1f", test.values); got != test.want {
			t.Errorf("%v: %s, want %s", test.values, got, test.want)
		}
	}
}

func TestRatioIsPairedByRound(t *testing.T) {
	r := result{image: "x"}
	r.samples[floorTool] = []sample{{CPU: 1, Wall: 1, Peak: 1}, {CPU: 10, Wall: 1, Peak: 1}}
	r.samples[fledgeTool] = []sample{{CPU: 2, Wall: 1, Peak: 1}, {CPU: 20, Wall: 3, Peak: 1}}
	r.samples[peerTool] = []sample{{CPU: 4, Wall: 2, Peak: 1}, {CPU: 80, Wall: 12, Peak: 1}}
	text, err := report([]result{r}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := "| x | 2.00 (2.00-2.00) | 2.00 (1.00-3.00) | 0.38 (0.25-0.50) | 0.38 (0.25-0.50) |\n"; !strings.HasSuffix(text, want) {
		t.Errorf("got\n%swant at its end\n%s", text, want)
	}
}

func TestReplaceKeepsTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := replace(path, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if want := "before\n" + beginMark + "\nnew\n\n" + endMark + "after\n"; err != nil || string(got) != want {
		t.Errorf("got %q, want %q, %v", got, want, err)
	}
	if err := os.WriteFile(path, []byte("no marks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, "new\n"); err == nil {
		t.Error("a document without marks is accepted")
	}
}
