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
	begin, end := marks(imageCommand)
	otherBegin, otherEnd := marks(archiveCommand)
	other := otherBegin + "other\n" + otherEnd
	if err := os.WriteFile(path, []byte("before\n"+begin+"old\n"+end+"between\n"+other+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := replace(path, imageCommand, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if want := "before\n" + begin + "\nnew\n\n" + end + "between\n" + other + "after\n"; err != nil || string(got) != want {
		t.Errorf("got %q, want %q, %v", got, want, err)
	}
	if err := os.WriteFile(path, []byte("no marks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, imageCommand, "new\n"); err == nil {
		t.Error("a document without marks is accepted")
	}
}

func TestArchiveRatiosArePairedByRound(t *testing.T) {
	text, err := archiveReport([]packed{
		{gzip9, 2000000, []sample{{CPU: 10}, {CPU: 20}, {CPU: 40}}},
		{"x", 1900000, []sample{{CPU: 1}, {CPU: 10}, {CPU: 10}}},
	}, 5000000, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	want := "| x | 1.90 | 10.00 (1.00-10.00) | 0.00 (0.00-0.00) | 0 (0-0) | 0.950 | 0.25 (0.10-0.50) |\n"
	if !strings.HasSuffix(text, want) {
		t.Errorf("got\n%swant at its end\n%s", text, want)
	}
}

func TestArchiveListIsAMixture(t *testing.T) {
	path, files, err := archiveList(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := archiveList(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(again)
	if err != nil || string(second) != string(list) {
		t.Errorf("two lists differ, %v", err)
	}
	if n := strings.Count(string(list), "\n"); n != files || n == 0 {
		t.Errorf("%d lines for %d files", n, files)
	}
}

func TestRatiosOfFormatsArePairedByRound(t *testing.T) {
	pair := formatPair{format: "xfs", name: "xfs"}
	pair.ours = packed{size: 90e6, samples: []sample{{CPU: 1, Wall: 1, Peak: 1}, {CPU: 4, Wall: 6, Peak: 2}}}
	pair.theirs = packed{size: 100e6, samples: []sample{{CPU: 2, Wall: 4, Peak: 3}, {CPU: 4, Wall: 8, Peak: 3}}}
	text, err := formatReport([]formatPair{pair}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := "| 0.900 | 0.75 (0.50-1.00) | 0.50 (0.25-0.75) |\n"; !strings.HasSuffix(text, want) {
		t.Errorf("got\n%swant at its end\n%s", text, want)
	}
}
