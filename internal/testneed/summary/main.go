// Command summary reads the output of "go test -json" on standard input, prints one line a
// package and the full output of what failed, and ends with what was skipped
// and why. It exits 1 when a test or a build failed or no test ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of test2json's output.
type event struct {
	Action, Package, Test, Output string
	ImportPath, FailedBuild       string
	Elapsed                       float64
}

type summary struct {
	passed, failed, skipped int
	output                  map[string][]string // by package and test
	reasons                 map[string][]string // tests by why they were skipped
}

func main() {
	ok, err := run(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) (bool, error) {
	s := summary{output: map[string][]string{}, reasons: map[string][]string{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		s.take(e, out)
	}
	s.print(out)
	return s.failed == 0 && s.passed > 0, lines.Err()
}

func (s *summary) take(e event, out io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e, out)
		} else {
			s.endTest(e, out)
		}
		delete(s.output, key)
	}
}

func (s *summary) endTest(e event, out io.Writer) {
	output := s.output[e.Package+" "+e.Test]
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		fmt.Fprintf(out, "FAIL %s %s\n%s", e.Package, e.Test, strings.Join(output, ""))
	case "skip":
		s.skipped++
		why := "SKIP: without a reason"
		for _, line := range output {
			if at := strings.Index(line, "SKIP: "); at >= 0 && !strings.HasPrefix(line, "---") {
				why = strings.TrimSpace(line[at:])
			}
		}
		s.reasons[why] = append(s.reasons[why], e.Test)
	}
}

func (s *summary) endPackage(e event, out io.Writer) {
	fmt.Fprintf(out, "%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
	if e.Action == "fail" {
		if e.FailedBuild != "" {
			s.failed++
		}
		fmt.Fprint(out, strings.Join(s.output[e.Package+" "], ""))
	}
}

func (s *summary) print(out io.Writer) {
	var whys []string
	for why := range s.reasons {
		whys = append(whys, why)
	}
	slices.Sort(whys)
	for _, why := range whys {
		fmt.Fprintf(out, "%s (%d tests)\n", why, len(s.reasons[why]))
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
}
