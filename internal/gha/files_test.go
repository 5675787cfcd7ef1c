package gha

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sethvargo/go-githubactions"

	"github.com/volant/fledge-action/internal/testneed"
)

// step is a workspace and the runner's files, and the Workflow that sees them.
type step struct {
	*Workflow
	dir string
}

func newStep(t testing.TB) *step {
	t.Helper()
	dir := t.TempDir()
	pairs := []string{"GITHUB_WORKSPACE", filepath.Join(dir, "workspace")}
	for _, name := range []string{"OUTPUT", "STATE", "STEP_SUMMARY", "ARTIFACTS"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, "GITHUB_"+name, file)
	}
	if err := os.Mkdir(filepath.Join(dir, "workspace"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &step{New(env(pairs...), io.Discard), dir}
}

func (s *step) read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *step) write(t testing.TB, name, text string) {
	t.Helper()
	name = filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const libraryDelimiter = "_GitHubActionsFileCommandDelimeter_"

var hostileValues = []string{
	"",
	"a",
	"a\nb",
	"\n",
	"a\n",
	"a\r\nb\r",
	"a\n" + libraryDelimiter + "\nevil=1",
	"a\n" + libraryDelimiter + "\nevil<<x\n1\nx",
	"evil=1\nevil<<EOF\n1\nEOF",
	"::set-output name=evil::1",
	"${{ github.token }}",
	"fledge_\nfledge_",
	"日本 🧀",
	strings.Repeat("a", MaxValue),
}

func TestAValueIsReadBackAsThatValueAlone(t *testing.T) {
	s := newStep(t)
	var want []pair
	for i, value := range hostileValues {
		name := fmt.Sprintf("name-%d_x", i)
		if err := s.Output(name, value); err != nil {
			t.Errorf("%.80q: %v", value, err)
		}
		want = append(want, pair{name, value})
	}
	got, err := runnerFile(s.read(t, "OUTPUT"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the file has\n%.2000q\nwant\n%.2000q", got, want)
	}
}

func TestTheLibraryLetsAValueSetOtherOutputs(t *testing.T) {
	const value = "a\n" + libraryDelimiter + "\nevil=1\nrest<<" + libraryDelimiter + "\n"
	read := func(set func(name, value string), s *step) int {
		set("name", value)
		got, err := runnerFile(s.read(t, "OUTPUT"))
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	theirs, ours := newStep(t), newStep(t)
	if n := read(githubactions.New(githubactions.WithGetenv(theirs.getenv)).SetOutput, theirs); n != 3 {
		t.Errorf("go-githubactions sets %d outputs; if it is 1 now, its writer can be used", n)
	}
	if n := read(func(name, value string) {
		if err := ours.Output(name, value); err != nil {
			t.Fatal(err)
		}
	}, ours); n != 1 {
		t.Errorf("ours sets %d outputs", n)
	}
}

func TestTheLibraryPanicsWithoutAFile(t *testing.T) {
	panics := func(call func()) (yes bool) {
		defer func() { yes = recover() != nil }()
		call()
		return false
	}
	lib := githubactions.New(githubactions.WithGetenv(env()))
	if !panics(func() { lib.SetOutput("name", "value") }) {
		t.Error("go-githubactions does not panic any more")
	}
	w := New(env(), io.Discard)
	var missing *NoFileError
	if err := w.Output("name", "value"); !errors.As(err, &missing) || missing.Variable != "GITHUB_OUTPUT" {
		t.Errorf("%v", err)
	}
	if err := errors.Join(w.Summary("text"), w.Artifacts([]string{"a"})); err != nil {
		t.Errorf("optional files: %v", err)
	}
}

func TestOutputRefusesWhatTheRunnerWouldReadOtherwise(t *testing.T) {
	s := newStep(t)
	s.Mask("a-long-secret")
	s.Mask("short")
	for _, c := range []struct{ name, value, want string }{
		{"", "a", "the name has to be"},
		{"a=b", "a", "the name has to be"},
		{"a<<b", "a", "the name has to be"},
		{"a\nb", "a", "the name has to be"},
		{"1a", "a", "the name has to be"},
		{strings.Repeat("a", 101), "a", "the name has to be"},
		{"a", "a\xff", "is not UTF-8"},
		{"a", "a\x00", "NUL byte"},
		{"a", strings.Repeat("a", MaxValue+1), "1048577 bytes; up to 1048576"},
		{"a", "with a-long-secret in it", "holds a secret"},
	} {
		err := s.Output(c.name, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "long-secret") {
			t.Errorf("%.40q = %.40q: %v, want %q", c.name, c.value, err, c.want)
		}
	}
	if text := s.read(t, "OUTPUT"); text != "" {
		t.Errorf("the file has %q", text)
	}
	if err := errors.Join(s.Output(strings.Repeat("a", 100), "a"), s.Output("a", "short names")); err != nil {
		t.Error(err)
	}
}

func TestRecordRefusesItsDelimiterInAValue(t *testing.T) {
	fixed := func() string { return "X" }
	if _, err := record("name", "a fledge_X b", fixed); err == nil {
		t.Error("a value with the delimiter is written")
	}
	if got, err := record("name", "a", fixed); err != nil || got != "name<<fledge_X\na\nfledge_X\n" {
		t.Errorf("%q, %v", got, err)
	}
	seen := map[string]bool{}
	s := newStep(t)
	for range 10 {
		if err := s.Output("a", "b"); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(s.read(t, "OUTPUT")) {
		if delimiter, ok := strings.CutPrefix(line, "a<<"); ok {
			seen[delimiter] = true
		}
	}
	if len(seen) != 10 {
		t.Errorf("10 outputs have %d delimiters", len(seen))
	}
}

func TestFilesAreAppendedToAndNeverFollowedOrMade(t *testing.T) {
	s := newStep(t)
	s.write(t, "OUTPUT", "before=1\n")
	if err := s.Output("a", "b"); err != nil {
		t.Fatal(err)
	}
	got, err := runnerFile(s.read(t, "OUTPUT"))
	if want := []pair{{"before", "1"}, {"a", "b"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("the file has %q (%v), want %q", got, err, want)
	}

	file := filepath.Join(s.dir, "OUTPUT")
	for what, c := range map[string]struct {
		put  func() error
		want error
	}{
		"link":   {func() error { return os.Symlink("STATE", file) }, syscall.ELOOP},
		"folder": {func() error { return os.Mkdir(file, 0o755) }, syscall.EISDIR},
		"fifo":   {func() error { return syscall.Mkfifo(file, 0o600) }, syscall.ENXIO},
		"none":   {func() error { return nil }, fs.ErrNotExist},
	} {
		if err := errors.Join(os.RemoveAll(file), c.put()); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Output("a", "b") }()
		select {
		case err := <-done:
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", what, err, c.want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: waits", what)
		}
	}
	if text := s.read(t, "STATE"); text != "" {
		t.Errorf("the link was followed: %q", text)
	}
}

func TestAFIFOThatIsReadIsNoFile(t *testing.T) {
	s := newStep(t)
	fifo := filepath.Join(s.dir, "OUTPUT")
	if err := errors.Join(os.Remove(fifo), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if err := s.Output("a", "b"); !errors.Is(err, errNotRegular) {
		t.Errorf("%v", err)
	}
}

func FuzzOutput(f *testing.F) {
	for _, value := range hostileValues[:len(hostileValues)-1] {
		f.Add("name", value)
	}
	f.Add("a<<b", "c")
	s := newStep(f)
	f.Fuzz(func(t *testing.T, name, value string) {
		s.write(t, "OUTPUT", "")
		if s.Output(name, value) != nil {
			if text := s.read(t, "OUTPUT"); text != "" {
				t.Errorf("refused, and wrote %q", text)
			}
			return
		}
		got, err := runnerFile(s.read(t, "OUTPUT"))
		if err != nil || !slices.Equal(got, []pair{{name, value}}) {
			t.Errorf("the runner reads %q (%v), want %q = %q", got, err, name, value)
		}
	})
}

func TestSummaryIsAppendedAndCutWithANote(t *testing.T) {
	s := newStep(t)
	s.Mask("secret")
	if err := errors.Join(s.Summary("# One\n"), s.Summary("two secret \xff")); err != nil {
		t.Fatal(err)
	}
	if got, want := s.read(t, "STEP_SUMMARY"), "# One\ntwo *** \ufffd\n"; got != want {
		t.Errorf("the summary is %q, want %q", got, want)
	}
	const line, more = "| ä row of a table |\n", "more\n"
	for n, cut := range map[int]bool{MaxSummary: false, MaxSummary + 1: true} {
		s := newStep(t)
		rows := strings.Repeat(line, (n-len(more))/len(line))
		first := strings.Repeat("x", n-len(more)-len(rows)-1) + "\n"
		if err := errors.Join(s.Summary(first), s.Summary(rows), s.Summary(""), s.Summary(more), s.Summary(more)); err != nil {
			t.Fatal(err)
		}
		got := s.read(t, "STEP_SUMMARY")
		if len(got) > MaxSummary+2<<10 || !strings.HasPrefix(got, first+line) {
			t.Errorf("%d bytes become %d, which begin with %.100q", n, len(got), got)
		}
		if want := strings.TrimSuffix(first+rows+more, map[bool]string{true: more}[cut]) + cutNote; got != want {
			t.Errorf("%d bytes end in %q", n, got[len(got)-300:])
		}
	}
	over := newStep(t)
	if err := errors.Join(over.Summary(strings.Repeat(line, MaxSummary/len(line)+1)), over.Summary(more)); err != nil {
		t.Fatal(err)
	}
	if got := over.read(t, "STEP_SUMMARY"); len(got) > MaxSummary+2<<10 || !strings.HasSuffix(got, line+cutNote) {
		t.Errorf("cut to %d bytes, which end in %q", len(got), got[len(got)-200:])
	}
}

func TestACutSummaryEndsWhatIsOpen(t *testing.T) {
	for _, open := range []string{"```\n", "<details><summary>a</summary>\n\n~~~~text\n", "````\n```\n", "<details>\n<details>\n</details>\n"} {
		got := cutSummary(open+strings.Repeat("text\n", 1000), 3000)
		if len(got) > 3000+2<<10 || !strings.HasSuffix(got, cutNote) {
			t.Errorf("%q: cut to %d bytes, which end in %q", open, len(got), got[len(got)-20:])
		}
		body := strings.TrimSuffix(got, cutNote)
		if closeBlocks(body) != "" {
			t.Errorf("%q: open at the end of %q", open, body[len(body)-40:])
		}
	}
	if got := cutSummary(strings.Repeat("<details>", 1000), -1); got != cutNote {
		t.Errorf("without room: %q", got)
	}
}

func TestArtifactsAreThoseThatTheRunnerReads(t *testing.T) {
	s := newStep(t)
	files := []string{"dist/web.img", "dist/web manifest.json", "dist/ä.txt"}
	for _, name := range append(files, "other/web.img") {
		s.write(t, "workspace/"+name, "x")
	}
	if err := errors.Join(s.Artifacts(files[:2]), s.Artifacts(files), s.Artifacts(nil)); err != nil {
		t.Fatal(err)
	}
	got, err := runnerArtifacts(s.read(t, "ARTIFACTS"))
	if diff := cmp.Diff(files, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	before := s.read(t, "ARTIFACTS")
	if err := s.Artifacts([]string{"other/web.img"}); err == nil || !strings.Contains(err.Error(), `"dist/web.img" and "other/web.img" have the same name`) {
		t.Errorf("a second web.img: %v", err)
	}
	if s.read(t, "ARTIFACTS") != before {
		t.Error("what is refused is written")
	}
}

func TestArtifactsRefusesWhatFailsTheStepLater(t *testing.T) {
	s := newStep(t)
	digest := strings.Repeat("a", 64)
	for _, name := range []string{"ok", "a=b", "#a", " a", "a\nb", "a\rb", "a@sha256:" + digest, "a\xff"} {
		s.write(t, "workspace/"+name, "x")
	}
	s.write(t, "outside", "x")
	if err := os.Symlink("../outside", filepath.Join(s.dir, "workspace/link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a=b":                                "has a '='",
		"#a":                                 "starts or ends with",
		" a":                                 "starts or ends with",
		"a\nb":                               "has characters",
		"a\rb":                               "has characters",
		"a\xff":                              "has characters",
		"a@sha256:" + digest:                 "container image",
		"./ok":                               "clean path",
		"../outside":                         "clean path",
		"link":                               "escapes",
		".":                                  "is not a regular file",
		"missing":                            "no such file",
		"":                                   "clean path",
		filepath.Join(s.dir, "workspace/ok"): "clean path",
	} {
		if err := s.Artifacts([]string{"ok", name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	if text := s.read(t, "ARTIFACTS"); text != "" {
		t.Errorf("the list has %q", text)
	}
	if err := s.Artifacts([]string{"ok"}); err != nil {
		t.Error(err)
	}
}

func TestArtifactsHasLimits(t *testing.T) {
	var l artifactList
	paths := make([]string, MaxArtifacts+1)
	for i := range paths {
		paths[i] = fmt.Sprintf("%d", i)
	}
	if _, err := l.add(paths); err == nil || !strings.Contains(err.Error(), "501 files; the runner takes up to 500") {
		t.Errorf("501: %v", err)
	}
	if text, err := l.add(paths[:MaxArtifacts]); err != nil || strings.Count(text, "\n") != MaxArtifacts {
		t.Errorf("500: %v", err)
	}
	if text, err := l.add(paths[:1]); err != nil || text != "" {
		t.Errorf("once more: %q, %v", text, err)
	}
	long := strings.Repeat("a", MaxArtifactBytes-1)
	if _, err := new(artifactList).add([]string{long}); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	if _, err := new(artifactList).add([]string{long + "a"}); err == nil {
		t.Error("1 MiB and a byte are accepted")
	}
}

// TestToolkitAgrees has GitHub's own library write the same, and reads both.
func TestToolkitAgrees(t *testing.T) {
	script := testneed.Node(t, "core.mjs", "@actions/core")
	annotations := []Annotation{
		{Message: "plain"},
		{File: "a,b:c.toml", Line: 3, Column: 4, Title: "100%: a, b", Message: "a%0A\nb"},
	}
	values := slices.DeleteFunc(slices.Clone(hostileValues), func(v string) bool { return len(v) > 1000 })
	var log strings.Builder
	ours, theirs := newStep(t), newStep(t)
	ours.Workflow = New(ours.getenv, &log)
	ours.Mask("a\x01%b")
	for _, a := range annotations {
		ours.Error(a)
	}
	for _, value := range values {
		if err := ours.Output("name", value); err != nil {
			t.Fatal(err)
		}
	}

	input, err := json.Marshal(map[string]any{"mask": "a\x01%b", "annotations": annotations, "values": values})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script)
	cmd.Stdin = strings.NewReader(string(input))
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GITHUB_OUTPUT="+theirs.getenv("GITHUB_OUTPUT"))
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(runnerCommands(string(stdout)), runnerCommands(log.String()), cmp.AllowUnexported(command{})); diff != "" {
		t.Errorf("commands (-theirs +ours):\n%s", diff)
	}
	want, err := runnerFile(theirs.read(t, "OUTPUT"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := runnerFile(ours.read(t, "OUTPUT"))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pair{})); err != nil || diff != "" || len(got) != len(values) {
		t.Errorf("outputs (%v, -theirs +ours):\n%s", err, diff)
	}
}
