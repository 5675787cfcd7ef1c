package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

const (
	image  = "ghcr.io/volant/fledge-action@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	commit = "0123456789abcdef0123456789abcdef01234567"
)

// mainFiles copies what is pinned from the repository itself.
func mainFiles(t *testing.T) (dir string, root *os.Root) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"action.yml", "verify/action.yml", reusable} {
		from := filepath.Join("../..", name)
		if name != reusable {
			from = filepath.Join("testdata", name)
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, string(text))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// changed lists the lines of b that differ from those of a, and fails when there is a line
// more or less.
func changed(t *testing.T, a, b string) (lines []string) {
	t.Helper()
	old, new := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	if len(old) != len(new) {
		t.Fatalf("%d lines became %d", len(old), len(new))
	}
	for i := range old {
		if old[i] != new[i] {
			lines = append(lines, strings.TrimSpace(new[i]))
		}
	}
	return lines
}

func TestImageChangesOneLineOfEachActionFile(t *testing.T) {
	dir, root := mainFiles(t)
	before := map[string]string{}
	for _, name := range []string{"action.yml", "verify/action.yml", reusable} {
		before[name] = read(t, dir, name)
	}
	for range 2 { // the second time there is nothing to do
		if err := pinImage(root, image); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"action.yml", "verify/action.yml"} {
			got := changed(t, before[name], read(t, dir, name))
			if len(got) != 1 || got[0] != "image: docker://"+image {
				t.Errorf("%s: changed lines %q", name, got)
			}
		}
		if read(t, dir, reusable) != before[reusable] {
			t.Error("the reusable workflow changed")
		}
	}
}

// The files of testdata have what real ones might get; these are the real ones.
func TestTheRepositorysOwnActionFilesCanBePinned(t *testing.T) {
	dir, root := mainFiles(t)
	for _, name := range []string{"action.yml", "verify/action.yml"} {
		write(t, dir, name, read(t, "../..", name))
	}
	if err := pinImage(root, image); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"action.yml", "verify/action.yml"} {
		if got := changed(t, read(t, "../..", name), read(t, dir, name)); len(got) != 1 || got[0] != "image: docker://"+image {
			t.Errorf("%s: changed lines %q", name, got)
		}
	}
}

func TestUsesChangesEveryUseOfTheActionAndNothingElse(t *testing.T) {
	dir, root := mainFiles(t)
	before := read(t, dir, reusable)
	count := strings.Count(before, "uses: volant/fledge-action@v1\n")
	if count < 3 {
		t.Fatalf("the reusable workflow uses the action %d times; it plans, builds and releases", count)
	}
	for range 2 {
		if err := pinUses(root, "v1.2.3", commit); err != nil {
			t.Fatal(err)
		}
		got := changed(t, before, read(t, dir, reusable))
		if len(got) != count {
			t.Errorf("%d lines changed, want %d: %q", len(got), count, got)
		}
		for _, line := range got {
			if strings.TrimPrefix(line, "- ") != "uses: volant/fledge-action@"+commit+" # v1.2.3" {
				t.Errorf("changed to %q", line)
			}
		}
	}
}

func TestUnexpectedInputIsRefusedAndNothingWritten(t *testing.T) {
	for _, test := range []struct {
		name, file, old, new string
		run                  func(*os.Root) error
		want                 string
	}{
		{"another Dockerfile", "verify/action.yml", "image: ../Dockerfile", "image: Dockerfile", forImage, `verify/action.yml:9: "  image: Dockerfile": want one of`},
		{"another digest", "action.yml", "image: Dockerfile", "image: docker://" + strings.Replace(image, "0123", "3210", 1), forImage, `action.yml:9`},
		{"no image", "action.yml", "  image: Dockerfile\n", "", forImage, "action.yml: 0 lines to change, want 1"},
		{"two images", "action.yml", "  image: Dockerfile\n", "  image: Dockerfile\n  image: Dockerfile\n", forImage, "action.yml: 2 lines to change, want 1"},
		{"a tab", "action.yml", "  image: Dockerfile", "  image:\tDockerfile", forImage, "action.yml: 0 lines to change, want 1"},
		{"a comment behind it", "action.yml", "image: Dockerfile", "image: Dockerfile # built", forImage, "want one of"},
		{"another branch", reusable, "volant/fledge-action@v1\n", "volant/fledge-action@main\n", forUses, "fledge-release.yml:"},
		{"quotes", reusable, "uses: volant/fledge-action@v1\n", "uses: 'volant/fledge-action@v1'\n", forUses, "not known here"},
		{"one with quotes", reusable, "uses: volant/fledge-action@v1\n        with:\n          command: plan", "uses: volant/fledge-action\n        with:\n          command: plan", forUses, "not known here"},
		{"another commit", reusable, "volant/fledge-action@v1\n", "volant/fledge-action@" + strings.Replace(commit, "0123", "3210", 1) + " # v1.2.3\n", forUses, "want one of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, root := mainFiles(t)
			text := read(t, dir, test.file)
			if !strings.Contains(text, test.old) {
				t.Fatalf("%s has no %q", test.file, test.old)
			}
			write(t, dir, test.file, strings.ReplaceAll(text, test.old, test.new))
			before := read(t, dir, "action.yml") + read(t, dir, "verify/action.yml") + read(t, dir, reusable)
			err := test.run(root)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
			if after := read(t, dir, "action.yml") + read(t, dir, "verify/action.yml") + read(t, dir, reusable); after != before {
				t.Error("something was written")
			}
		})
	}
}

func forImage(root *os.Root) error { return pinImage(root, image) }
func forUses(root *os.Root) error  { return pinUses(root, "v1.2.3", commit) }

func TestNamesAreChecked(t *testing.T) {
	_, root := mainFiles(t)
	for _, name := range []string{
		"", "ghcr.io/volant/fledge-action:v1", strings.ToUpper(image), image + "0", image[:len(image)-1], "ghcr.io/other/fledge-action" + image[len("ghcr.io/volant/fledge-action"):], image + "\n",
	} {
		if pinImage(root, name) == nil {
			t.Errorf("image %q was taken", name)
		}
	}
	for _, version := range []string{"", "1.2.3", "v1", "v1.2", "v01.2.3", "v1.2.3-", "v1.2.3-a..b", "v1.2.3+x", "v1.2.3 # x", "v1.2.3\n"} {
		if pinUses(root, version, commit) == nil {
			t.Errorf("version %q was taken", version)
		}
	}
	for _, name := range []string{"", "v1", commit[1:], commit + "0", strings.ToUpper(commit), commit + "\n"} {
		if pinUses(root, "v1.2.3-rc.1", name) == nil {
			t.Errorf("commit %q was taken", name)
		}
	}
	if err := pinUses(root, "v1.2.3-rc.1", commit); err != nil {
		t.Error(err)
	}
}

func TestNotesAreTheVersionsPartOfTheChangelog(t *testing.T) {
	dir, root := mainFiles(t)
	write(t, dir, "CHANGELOG.md", "# Changelog\n\nIntro\n\n## [Unreleased]\n\n- coming\n\n## [1.2.0] - 2026-01-02\n\n### Added\n\n- new\n\n## [1.1.0]\n\n- old\n")
	for _, test := range []struct{ version, want string }{
		{"v1.2.0", "### Added\n\n- new\n"},
		{"v1.1.0", "- old\n"},
		{"v1.3.0-rc.1", "- coming\n"},
		{"v1.3.0", ""},
		{"v1.2", ""},
	} {
		var out bytes.Buffer
		err := run(root, []string{"notes", test.version}, &out)
		if out.String() != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v; want %q", test.version, out.String(), err, test.want)
		}
	}
	if err := run(root, []string{"notes"}, os.Stderr); err == nil {
		t.Error("a command without its version was taken")
	}
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository has main's files, and this command, in one commit.
func repository(t *testing.T) string {
	testneed.Tool(t, "git", "bash")
	dir, _ := mainFiles(t)
	write(t, dir, "go.mod", "module github.com/volant/fledge-action\n\ngo 1.26.0\n")
	for _, name := range []string{"main.go", "pin.go", "commit.sh"} {
		write(t, dir, "internal/pin/"+name, read(t, ".", name))
	}
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "add", "-A")
	git(t, dir, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "main")
	return dir
}

func runScript(t *testing.T, dir, script string, env []string, args ...string) (string, error) {
	t.Helper()
	path, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", append([]string{path}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestCommitMakesATagThatNamesEveryByte(t *testing.T) {
	dir := repository(t)
	if out, err := runScript(t, dir, "commit.sh", nil, "v1.2.3", image); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := git(t, dir, "diff", "--name-only", "main", "v1.2.3"); got != reusable+"\naction.yml\nverify/action.yml" {
		t.Errorf("changed files:\n%s", got)
	}
	first := git(t, dir, "rev-parse", "v1.2.3^{commit}~1")
	if text := git(t, dir, "show", "v1.2.3:"+reusable); !strings.Contains(text, "uses: volant/fledge-action@"+first+" # v1.2.3\n") {
		t.Errorf("the reusable workflow does not name %s:\n%s", first, text)
	}
	if text := git(t, dir, "show", first+":action.yml"); !strings.Contains(text, "image: docker://"+image+"\n") {
		t.Errorf("the action at %s does not name the image:\n%s", first, text)
	}
	if got := git(t, dir, "rev-parse", "v1.2.3^{commit}~2"); got != git(t, dir, "rev-parse", "main") {
		t.Error("the tag is not two commits on top of main")
	}
}

func TestCommitRefusesUncommittedChanges(t *testing.T) {
	dir := repository(t)
	write(t, dir, "action.yml", read(t, dir, "action.yml")+"\n")
	if out, err := runScript(t, dir, "commit.sh", nil, "v1.2.3", image); err == nil || !strings.Contains(out, "not committed") {
		t.Errorf("%v\n%s", err, out)
	}
	if tags := git(t, dir, "tag"); tags != "" {
		t.Errorf("tag %q was made", tags)
	}
}

// The ssh of these tests is a script that notes its arguments and, in place of a
// connection, starts git's receiving side in a local repository.
func TestPushKeepsItsKeyToItself(t *testing.T) {
	dir := repository(t)
	git(t, dir, "tag", "v1.2.3")
	other := t.TempDir()
	git(t, other, "init", "-q", "--bare")
	bin := t.TempDir()
	write(t, bin, "ssh", `#!/bin/sh
printf '%s\n' "$@" >"$BIN/args"
while [ "$1" != -i ]; do shift; done
stat -c %a "$2" >"$BIN/mode"
cp "$2" "$BIN/key"
exec git-receive-pack "$OTHER"
`)
	if err := os.Chmod(filepath.Join(bin, "ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "BIN=" + bin, "OTHER=" + other, "TMPDIR=" + temp, "GITHUB_REPOSITORY=volant/fledge-action", "DEPLOY_KEY=the key"}
	out, err := runScript(t, dir, "push.sh", env, "refs/tags/v1.2.3")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if git(t, other, "rev-parse", "v1.2.3") != git(t, dir, "rev-parse", "v1.2.3") {
		t.Error("the tag did not arrive")
	}
	args := read(t, bin, "args")
	for _, want := range []string{"StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "git@github.com", "'volant/fledge-action.git'"} {
		if !strings.Contains(args, want) {
			t.Errorf("ssh was called without %q:\n%s", want, args)
		}
	}
	if read(t, bin, "key") != "the key\n" || read(t, bin, "mode") != "600\n" || strings.Contains(args+out, "the key") {
		t.Error("the key is not in a file for the user alone")
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("%s is left", left[0].Name())
	}

	git(t, dir, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "next")
	git(t, dir, "tag", "-f", "v1.2.3")
	if out, err := runScript(t, dir, "push.sh", env, "refs/tags/v1.2.3"); err == nil {
		t.Errorf("a tag was moved without --force:\n%s", out)
	}
	if out, err := runScript(t, dir, "push.sh", env, "--force", "refs/tags/v1.2.3"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := runScript(t, dir, "push.sh", append(env, "DEPLOY_KEY="), "refs/tags/v1.2.3"); err == nil || !strings.Contains(out, "RELEASE_DEPLOY_KEY") {
		t.Errorf("without a key: %v\n%s", err, out)
	}
}
