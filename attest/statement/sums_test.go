package statement

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/internal/testneed"
)

// oddNames are names of files that sha256sum writes in other ways, or nearly.
var oddNames = []string{"web.img", "SHA256SUMS", `back\slash`, "new\nline", "carriage\rreturn", `\`, `\n`, " blank", "*star", "ümlaut", "-", "a  b"}

func TestSumsOfOddNamesAreReadBySha256sum(t *testing.T) {
	testneed.Tool(t, "sha256sum")
	dir := t.TempDir()
	var all []Subject
	for _, name := range oddNames {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, subject(name, name))
	}
	sums := Sums(all)
	got, err := ParseSums(sums)
	if err != nil {
		t.Fatal(err)
	}
	want, err := normalise(all)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	run := func(in []byte, args ...string) string {
		cmd := exec.Command("sha256sum", args...)
		cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(in), []string{"LC_ALL=C.UTF-8"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("sha256sum %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	// "-" is its standard input to sha256sum, when it reads sums there or makes them.
	named := bytes.ReplaceAll(sums, []byte("  -\n"), []byte("  ./-\n"))
	if out := run(named, "--check", "--strict"); strings.Count(out, ": OK\n") != len(oddNames) {
		t.Errorf("sha256sum says: %s", out)
	}
	for _, mode := range []string{"--text", "--binary"} {
		var args []string
		for _, s := range want {
			if s.Name != "-" {
				args = append(args, s.Name)
			}
		}
		theirs := run(nil, append([]string{mode, "--"}, args...)...)
		got, err := ParseSums([]byte(theirs))
		if err != nil {
			t.Fatal(err)
		}
		var rest []Subject
		for _, s := range want {
			if s.Name != "-" {
				rest = append(rest, s)
			}
		}
		if diff := cmp.Diff(rest, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", mode, diff)
		}
		if mode == "--text" && string(Sums(rest)) != theirs {
			t.Errorf("ours:\n%s\ntheirs:\n%s", Sums(rest), theirs)
		}
	}
}

func TestSumsAreWrittenInOrder(t *testing.T) {
	want := hexOf("1") + "  a\n" + hexOf("2") + "  b\n\\" + hexOf("3") + `  c\\d` + "\n"
	if got := Sums([]Subject{subject("b", "2"), subject(`c\d`, "3"), subject("a", "1")}); string(got) != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestSumsThatCannotBeAreRefused(t *testing.T) {
	good := hexOf("1") + "  a\n"
	for in, want := range map[string]string{
		"":                                  "no subjects",
		"\n":                                "line 1: ",
		good + "\n":                         "line 2: ",
		good + "# " + good:                  "line 2: ",
		hexOf("1") + " a\n":                 "line 1: ",
		hexOf("1") + "\ta\n":                "line 1: ",
		hexOf("1") + "  \n":                 "base name",
		hexOf("1") + " \n":                  "line 1: ",
		hexOf("1") + "\n":                   "line 1: ",
		hexOf("1")[1:] + "  a\n":            "64 lower-case hex digits",
		"SHA256 (a) = " + hexOf("1") + "\n": "line 1: ",
		good + hexOf("2") + "  ./b\n":       "line 2: subject \"./b\": want the base name",
		good + hexOf("2") + "  ../b\n":      "base name",
		good + hexOf("2") + "  a\n":         `two files are called "a"`,
		`\` + hexOf("1") + `  a\x` + "\n":   `unknown escape \x`,
		`\` + hexOf("1") + `  a\` + "\n":    "ends in a backslash",
		good + hexOf("2") + "  b\x00\n":     "base name",
		good + hexOf("2") + "  \xff\n":      "not UTF-8",
		strings.Repeat(good, MaxSubjects+1): "limit of 1024 lines",
		good + strings.Repeat("x", MaxSums): "limit of 1048576",
		hexOf("1") + "  a\r\n" + "x" + good: "line 2: ",
		" " + good:                          "line 1: ",
		hexOf("1") + hexOf("2") + "  a\n":   "64 lower-case hex digits",
	} {
		_, err := ParseSums([]byte(in))
		refused(t, in, err, "reading checksums: ", want)
	}
	for in, name := range map[string]string{
		strings.Repeat(good, MaxSubjects):      "a",
		strings.TrimSuffix(good, "\n"):         "a",
		strings.ToUpper(hexOf("1")) + " *a\n":  "a",
		hexOf("1") + `  a\x` + "\n":            `a\x`,
		hexOf("1") + "   a\n":                  " a",
		`\` + hexOf("1") + ` *a\n\r\\b` + "\n": "a\n\r\\b",
	} {
		got, err := ParseSums([]byte(in))
		if err != nil || len(got) != 1 || got[0].Name != name || got[0].SHA256() != hexOf("1") {
			t.Errorf("%.200q: %v, %v", in, got, err)
		}
	}
}
