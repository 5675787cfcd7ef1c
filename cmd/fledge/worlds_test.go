package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
)

// A world is what surrounds a build and must not reach the artifact.
type world struct {
	name  string
	env   []string
	umask string // octal, for the build and for making the project's files
	uid   uint32 // 0 stays as it is
	order []string
	mode  os.FileMode // of the project's files
	time  time.Time   // of the project's files
	cwd   string      // where the build runs, relative to the project
	image string      // kind of reference
}

var worlds = []world{
	{name: "time zone and locale", env: []string{"TZ=Asia/Kathmandu", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8"}},
	{name: "umask", umask: "077"},
	{name: "another user", uid: 65534},
	{name: "temporary folder", env: []string{"TMPDIR=elsewhere"}},
	{name: "current folder", cwd: "html"},
	{name: "one processor", env: []string{"GOMAXPROCS=1"}},
	{name: "many processors", env: []string{"GOMAXPROCS=7"}},
	{name: "order of creation", order: []string{"z.html", "index.html", "a.html"}},
	{name: "modes of files", mode: 0o700},
	{name: "times of files", time: time.Unix(1e9, 0)},
	{name: "no home", env: []string{"HOME="}},
	{name: "a registry", image: "registry"},
	{name: "an OCI archive", image: "oci-archive"},
	{name: "a Docker archive", image: "docker-archive"},
}

// witness prints what a process can see of its world.
const witness = `date +%Z; umask; id -u; echo "$TMPDIR"; pwd; echo "$GOMAXPROCS" "$LANG" "$HOME"; cd "$PROJECT"/html; stat -c '%.9Z %n' * | sort -n | sed 's/.* //'; stat -c '%a %Y' *`

// made is what the builds in a world gave.
type made struct {
	digests string // "HEX  NAME" and a newline for each artifact, as sha256sum prints them
	sboms   string // the same for their SBOMs
	witness string
}

// projects are what is built in each world: fledge.toml by the artifact's name.
var projects = map[string]string{
	"world.img": `version = "1"
strategy = "oci_rootfs"
[plugin]
name = "world"
[agent]
source_strategy = "local"
path = "kestrel"
[source]
image = %q
[filesystem]
size_buffer_mb = 1
[mappings]
"html/" = "/usr/share/nginx/html"
"html/index.html" = "/bin/greet"
`,
	"world.cpio.gz": `version = "1"
strategy = "initramfs"
[plugin]
name = "world"
[agent]
source_strategy = "local"
path = "kestrel"
[source]
image = %q
busybox_url = "busybox"
busybox_sha256 = "` + fmt.Sprintf("%x", sha256.Sum256(busybox())) + `"
[mappings]
"html/" = "/usr/share/nginx/html"
"html/index.html" = "/bin/greet"
`,
	"world.cpio.zst": `version = "1"
strategy = "initramfs"
[plugin]
name = "world"
[init]
path = "my-init"
[source]
image = %q
busybox = false
[initramfs]
compression = "zstd"
`,
}

// buildIn makes the project in a folder of its own and builds it in the world.
func buildIn(t *testing.T, w world) made {
	t.Helper()
	dir := t.TempDir()
	openFolders(dir)
	ref := placeImage(t, dir, w.image)
	order := w.order
	if order == nil {
		order = []string{"a.html", "index.html", "z.html"}
	}
	if w.umask != "" {
		mask := 0
		fmt.Sscanf(w.umask, "%o", &mask)
		defer syscall.Umask(syscall.Umask(mask))
	}
	for name, toml := range projects {
		write(t, dir, name+".toml", fmt.Sprintf(toml, ref))
	}
	write(t, dir, "kestrel", string(executable()))
	write(t, dir, "busybox", string(busybox()))
	write(t, dir, "my-init", string(executable()))
	for _, name := range order {
		write(t, dir, "html/"+name, "page "+name)
		time.Sleep(20 * time.Millisecond) // so that the witness sees the order
	}
	for _, name := range order {
		time.Sleep(20 * time.Millisecond)
		path := filepath.Join(dir, "html", name)
		if w.mode != 0 {
			os.Chmod(path, w.mode)
		}
		if !w.time.IsZero() {
			os.Chtimes(path, w.time, w.time)
		}
	}
	os.Mkdir(filepath.Join(dir, "elsewhere"), 0o777)
	os.Mkdir(filepath.Join(dir, "out"), 0o777)
	if w.uid != 0 {
		testneed.Root(t)
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error { return os.Lchown(path, int(w.uid), int(w.uid)) }); err != nil {
			t.Fatal(err)
		}
	}
	seen := runIn(t, w, dir, exec.Command("sh", "-c", witness))
	var digests, sboms strings.Builder
	for _, name := range slices.Sorted(maps.Keys(projects)) {
		out := filepath.Join(dir, "out", name)
		runIn(t, w, dir, command(t, dir, "build", "--config", filepath.Join(dir, name+".toml"), "-o", out, "--cache-dir", "none", "--sbom", "spdx"))
		artifact, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		list := build.SBOMPath(out, sbom.SPDX)
		fmt.Fprintf(&sboms, "%x  %s\n", sha256.Sum256([]byte(read(t, filepath.Dir(list), filepath.Base(list)))), name)
		fmt.Fprintf(&digests, "%x  %s\n", sha256.Sum256(artifact), name)
	}
	return made{digests.String(), sboms.String(), strings.ReplaceAll(seen, dir, "DIR")}
}

// openFolders lets another user get to a folder below the temporary one, which
// stays as it is.
func openFolders(dir string) {
	temp := filepath.Clean(os.TempDir())
	for at := dir; strings.HasPrefix(at, temp+"/"); at = filepath.Dir(at) {
		os.Chmod(at, 0o755)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// placeImage puts the test image where the world wants it.
func placeImage(t *testing.T, dir, kind string) string {
	t.Helper()
	im := map[string]*ocitest.Image{"world:1": nginx(t, false)}
	switch kind {
	case "registry":
		return ocitest.NewRegistry(t).Push(t, "some/world:1", im["world:1"])
	case "oci-archive":
		ocitest.OCIArchive(t, filepath.Join(dir, "image.tar"), map[string]*ocitest.Image{"1": im["world:1"]})
		return "oci-archive:image.tar:1"
	case "docker-archive":
		ocitest.DockerArchive(t, filepath.Join(dir, "image.tar"), ocitest.Legacy, im)
		return "docker-archive:image.tar"
	}
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": im["world:1"]})
	return "oci:layout:1"
}

// runIn runs a command in the world and returns its output.
func runIn(t *testing.T, w world, dir string, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Dir = filepath.Join(dir, w.cwd)
	cmd.Env = []string{"HOME=" + filepath.Join(dir, "home"), "PATH=" + os.Getenv("PATH"), "PROJECT=" + dir}
	for _, e := range w.env {
		cmd.Env = append(cmd.Env, strings.ReplaceAll(e, "=elsewhere", "="+filepath.Join(dir, "elsewhere")))
	}
	if w.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: w.uid, Gid: w.uid}}
		copyProgram(t, cmd.Path)
		openFolders(filepath.Dir(cmd.Path))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd.Path, err, out)
	}
	return string(out)
}

// copyProgram puts the program itself where a link to it is: the test binary is in
// a folder that other users may not enter.
func copyProgram(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSymlink == 0 || !strings.HasPrefix(path, os.TempDir()) {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestEveryWorldBuildsTheSameBytes builds one project in child processes, each in
// a world of its own. Each world is first shown to differ from the plain one in
// what a process can see, so that none passes because it changed nothing.
func TestEveryWorldBuildsTheSameBytes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: the worlds are those of Linux")
	}
	plain := buildIn(t, world{name: "plain", umask: "022"})
	again := buildIn(t, world{name: "plain", umask: "022"})
	if plain.digests != again.digests {
		t.Fatalf("two builds in one world differ:\n%s%s", plain.digests, again.digests)
	}
	if stripTimes(plain.witness) != stripTimes(again.witness) {
		t.Fatalf("the witness sees a difference where there is none:\n%s\n%s", plain.witness, again.witness)
	}
	for _, w := range worlds {
		t.Run(w.name, func(t *testing.T) {
			got := buildIn(t, w)
			if (got.sboms != plain.sboms) != (w.image != "") { // an SBOM says where its image is from
				t.Errorf("the SBOMs are\n%sin the plain world\n%s", got.sboms, plain.sboms)
			}
			if got.digests != plain.digests {
				t.Errorf("the artifacts are\n%sin the plain world\n%s", got.digests, plain.digests)
			}
			if w.image == "" && w.time.IsZero() && stripTimes(got.witness) == stripTimes(plain.witness) {
				t.Errorf("this world is no different from the plain one:\n%s", got.witness)
			}
			if !w.time.IsZero() && !strings.Contains(got.witness, " 1000000000") {
				t.Errorf("the files' times are not those of this world:\n%s", got.witness)
			}
		})
	}
}

// stripTimes removes the files' times, which differ in any case.
func stripTimes(witness string) string {
	var out bytes.Buffer
	for line := range strings.Lines(witness) {
		var mode int
		var sec int64
		if n, _ := fmt.Sscanf(line, "%o %d", &mode, &sec); n == 2 {
			line = fmt.Sprintf("%o\n", mode)
		}
		out.WriteString(line)
	}
	return out.String()
}

// TestInputsReachTheArtifact changes each input of a build; each change must show.
func TestInputsReachTheArtifact(t *testing.T) {
	dir := t.TempDir()
	placeImage(t, dir, "")
	base := map[string]string{"epoch": "", "buffer": "1", "journal": "4", "page": "hello", "agent": string(executable())}
	build := func(change, value string) string {
		in := map[string]string{}
		for k, v := range base {
			in[k] = v
		}
		in[change] = value
		write(t, dir, "kestrel", in["agent"])
		write(t, dir, "html/index.html", in["page"])
		write(t, dir, "fledge.toml", fmt.Sprintf("version = \"1\"\nstrategy = \"oci_rootfs\"\n[agent]\nsource_strategy = \"local\"\npath = \"kestrel\"\n"+
			"[source]\nimage = \"oci:layout:1\"\n[filesystem]\nsize_buffer_mb = %s\njournal_mb = %s\n[mappings]\n\"html\" = \"/html\"\n", in["buffer"], in["journal"]))
		cmd := command(t, dir, "build", "-q", "-o", "x.img", "--cache-dir", "none")
		cmd.Env = append(cmd.Env, "SOURCE_DATE_EPOCH="+in["epoch"])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build with %s = %q: %v\n%s", change, value, err, out)
		}
		return fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, dir, "x.img"))))
	}
	want := build("nothing", "")
	if again := build("nothing", ""); again != want {
		t.Fatal("the same inputs give other bytes")
	}
	for change, value := range map[string]string{
		"epoch": "1234567890", "buffer": "20", "journal": "0", "page": "other", "agent": string(executable()) + "\n",
	} {
		if build(change, value) == want {
			t.Errorf("a change of the %s does not show", change)
		}
	}
}

// TestGolden compares the artifacts of fixed projects with committed digests. A
// change of bytes is a reviewed line there and an entry of CHANGELOG.md under
// "Artifact bytes"; UPDATE_GOLDEN=1 writes it.
func TestGolden(t *testing.T) {
	const file = "testdata/golden.sha256"
	got := buildIn(t, world{umask: "022"}).digests
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the artifacts are\n%swant\n%s", got, want)
	}
}
