package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/ghtest"
	"github.com/volant/fledge-action/internal/newctest"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/qemutest"
	"github.com/volant/fledge-action/internal/tool"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fledge": main, spoiler: spoil, qemutest.Program: qemutest.Main})
}

// TestScript runs testdata/script. Beside testscript's own commands there are
//
//	image DIR [plain]      an OCI layout of a small nginx; plain has no ENTRYPOINT, PORT or USER
//	registry               a loopback registry with nginx:1.27, its address in $REGISTRY; the next time
//	                       another image gets the tag
//	github TAG...          a loopback GitHub API with releases of Volant, its address in $GITHUB; the next
//	                       time further releases
//	plugin DIR             an initramfs web.cpio.gz with its manifest.json, and a file vmlinuz that
//	                       is taken for a kernel
//	busybox FILE           one with a busybox's list of applets, its sum in $BUSYBOX_SHA256
//	elf FILE [LIBRARY...]  an executable for amd64, static or with musl's loader and the libraries
//	signkey FILE           a private key, and its public key in FILE.pub
//	loader FILE            what stands for musl's loader
//	same FILE FILE         fails unless both have the same bytes
//	differ FILE FILE       fails if they have
//	repository TAG...          a GitHub with a repository acme/web that has the tags, and the variables of a
//	                       job that may write to it
//	releases FILE          writes its releases to a file
//	attestations FILE      writes the digests of its attestations, a line each
//	refuse STATUS          has it refuse attestations, 0 has it keep them
//	code N PROGRAM...      runs a program that has to exit with N
//	newc FILE KIND         a newc archive: sample, other, hostile or broken; compressed as FILE's name says
//	patch FILE AT HEX      writes bytes at an offset of a file
//	sigstore               a Sigstore in memory: its roots public.json (with logs) and private.json
//	                       (without), keys fledge.pub, fledge.key and other.pub, $HINT of the first
//	attest BUNDLE KIND FILE...  a bundle of it about files, a further line if BUNDLE ends in .jsonl:
//	                       good, private (no logs), eve (another repository), reusable (another workflow),
//	                       contradiction, hostile, build (our record), key (that, by fledge.pub), sbom
//	record BUNDLE JSON VERSION [FILE]  a bundle by fledge.pub with the build record of what 'fledge build
//	                       --json' printed, by a fledge of that version; FILE in place of its artifact
//	manifest FILE URL ARTIFACT  a manifest.json
//	sums FILE ARTIFACT...  a SHA256SUMS
//	flip FILE TEXT         changes a letter in the JSON string that follows a text
//	web DIR                a web server of a folder, its address in $WEB
//	publish DIR [FILE BUNDLE]...  GitHub's API with a folder as release v1 of o/r and with attestations
//	                       of files, its address in $GITHUB_API, for the token "good"
//
// qemu-system-x86_64 is the stand-in of package qemutest, $FLEDGE the path of fledge,
// $NEWLINE a line break.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Values["t"], env.Values["servers"], env.Values["sigstore"] = t, &servers{}, new(sigstores)
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("NEWLINE", "\n")
			fledge, err := tool.Look("fledge", env.Getenv("PATH"))
			env.Setenv("FLEDGE", fledge)
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"image":        scriptImage,
			"registry":     scriptRegistry,
			"github":       scriptGitHub,
			"plugin":       func(ts *testscript.TestScript, _ bool, args []string) { makePlugin(scriptT(ts), ts.MkAbs(args[0])) },
			"code":         scriptCode,
			"repository":   scriptRepository,
			"releases":     scriptReleases,
			"refuse":       scriptRefuse,
			"changes":      scriptChanges,
			"attestations": scriptAttestations,
			"newc":         scriptNewc,
			"patch":        scriptPatch,
			"elf":          scriptELF,
			"busybox":      scriptBusybox,
			"loader":       scriptLoader,
			"signkey":      scriptKey,
			"sigstore":     scriptSigstore,
			"attest":       scriptAttest,
			"record":       scriptRecord,
			"manifest":     scriptManifest,
			"sums":         scriptSums,
			"flip":         scriptFlip,
			"web":          scriptWeb,
			"publish":      scriptRelease,
			"same":         func(ts *testscript.TestScript, _ bool, args []string) { scriptCompare(ts, args, true) },
			"differ":       func(ts *testscript.TestScript, _ bool, args []string) { scriptCompare(ts, args, false) },
		},
	})
}

// resolv names a name server, without which a build warns.
var resolv = ocitest.File("etc/resolv.conf", "nameserver 192.0.2.1\n")

// nginx is a small image that looks like the real one, with more entries in a layer of
// their own.
func nginx(t testing.TB, plain bool, more ...ocitest.Entry) *ocitest.Image {
	spec := ocitest.Spec{
		Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Layers: []ocitest.Layer{
			{Entries: []ocitest.Entry{
				{Header: tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"}},
				{Header: tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}},
				{Header: tar.Header{Name: "srv/", Typeflag: tar.TypeDir, Mode: 0o755}},
				{Header: tar.Header{Name: "usr/bin/nginx", Mode: 0o755}, Body: string(executable())},
				ocitest.File("etc/nginx/nginx.conf", "events {}\n"),
			}},
			{Compression: ocitest.Zstd, Entries: []ocitest.Entry{ocitest.File("usr/share/nginx/html/index.html", "welcome\n")}},
		},
	}
	if len(more) > 0 {
		spec.Layers = append(spec.Layers, ocitest.Layer{Entries: more})
	}
	if !plain {
		spec.Config = v1.Config{
			Entrypoint: []string{"nginx"}, Cmd: []string{"-g", "daemon off;"}, WorkingDir: "/srv",
			Env: []string{"PATH=/usr/sbin:/usr/bin", "LANG=C"}, ExposedPorts: map[string]struct{}{"443/tcp": {}, "80/tcp": {}, "53/udp": {}},
		}
	}
	return ocitest.Build(t, spec)
}

// executable is the least that debug/elf takes for an amd64 program.
func executable() []byte {
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: 0x400078,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	p := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5, Vaddr: 0x400000, Paddr: 0x400000, Filesz: 120, Memsz: 120, Align: 4096}
	b, _ := binary.Append(nil, binary.LittleEndian, h)
	b, _ = binary.Append(b, binary.LittleEndian, p)
	return append(b, 0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05) // exit(0)
}

func scriptT(ts *testscript.TestScript) *testing.T { return ts.Value("t").(*testing.T) }

func scriptImage(ts *testscript.TestScript, _ bool, args []string) {
	ocitest.Layout(scriptT(ts), ts.MkAbs(args[0]), map[string]*ocitest.Image{"1.27": nginx(scriptT(ts), len(args) > 1, resolv)})
}

func scriptRegistry(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value("servers").(*servers)
	more := []ocitest.Entry{resolv}
	if s.registry == nil {
		s.registry = ocitest.NewRegistry(scriptT(ts))
		ts.Setenv("REGISTRY", s.registry.Host)
	} else {
		more = append(more, ocitest.File("etc/moved", "the tag has moved\n"))
	}
	s.registry.Push(scriptT(ts), "library/nginx:1.27", nginx(scriptT(ts), false, more...))
}

// servers are those of one script.
type servers struct {
	registry *ocitest.Registry
	github   *ghtest.Server
}

func scriptGitHub(ts *testscript.TestScript, _ bool, tags []string) {
	s := ts.Value("servers").(*servers)
	if s.github == nil {
		s.github = ghtest.New(scriptT(ts), "volantvm/volant")
		ts.Setenv("GITHUB", s.github.URL)
	}
	for _, tag := range tags {
		agent := append(executable(), tag...)
		s.github.Add(ghtest.Release{Tag: tag, Assets: []ghtest.Asset{
			{Name: "kestrel", Content: agent},
			{Name: "checksums.txt", Content: fmt.Appendf(nil, "%x  kestrel\n", sha256.Sum256(agent))},
		}})
	}
}

func scriptRepository(ts *testscript.TestScript, _ bool, args []string) {
	t := scriptT(ts)
	s := ghrelease.New("acme/web", args...)
	s.Merged = []string{"* a change"}
	s.Token, s.Contract = "job-token", ghrelease.TheContract(t)
	s.Start(t)
	ts.Setenv("GITHUB_API_URL", s.API)
	ts.Setenv("GITHUB_SERVER_URL", s.Web)
	ts.Setenv("GITHUB_REPOSITORY", s.Repo)
	ts.Setenv("GITHUB_TOKEN", s.Token)
	repositories.Store(ts, s)
	t.Cleanup(func() {
		for _, v := range s.Violations() {
			t.Errorf("against GitHub's contract: %s", v)
		}
	})
}

// repositories has the server of each script that started one.
var repositories sync.Map

func scriptReleases(ts *testscript.TestScript, _ bool, args []string) {
	var b strings.Builder
	for _, r := range repositoryOf(ts).Releases() {
		fmt.Fprintf(&b, "%s %q draft=%v prerelease=%v latest=%s\n%s", r.Tag, r.Name, r.Draft, r.Prerelease, r.Latest, r.Body)
		for _, a := range r.Assets {
			fmt.Fprintf(&b, "%s %d %s\n", a.Name, len(a.Content), a.State)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// repositoryOf is the server of a script.
func repositoryOf(ts *testscript.TestScript) *ghrelease.Server {
	s, ok := repositories.Load(ts)
	if !ok {
		ts.Fatalf("there is no GitHub")
	}
	return s.(*ghrelease.Server)
}

// scriptChanges has the repository tell, from now on, that files changed between two
// commits: changes BASE...HEAD FILE...
func scriptChanges(ts *testscript.TestScript, _ bool, args []string) {
	var files []ghrelease.ComparedFile
	for _, name := range args[1:] {
		files = append(files, ghrelease.ComparedFile{Name: name})
	}
	repositoryOf(ts).SetComparison(args[0], ghrelease.Comparison{Status: "ahead", Files: files})
}

func scriptRefuse(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	repositoryOf(ts).SetRefusal(status)
}

func scriptAttestations(ts *testscript.TestScript, _ bool, args []string) {
	var b strings.Builder
	for _, a := range repositoryOf(ts).Attestations() {
		fmt.Fprintf(&b, "%s\n", strings.Join(a.Digests, " "))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

func scriptELF(ts *testscript.TestScript, _ bool, args []string) {
	program := executable()
	if len(args) > 1 {
		program = elftest.Dynamic("/lib/ld-musl-x86_64.so.1", args[1:]...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), program, 0o644))
}

func scriptLoader(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), elftest.Make(elftest.Spec{Type: elf.ET_DYN, Soname: "libc.musl-x86_64.so.1", Debug: 2 << 20}), 0o755))
}

func scriptKey(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))
}

// busybox stands for one: an executable with a list of applets.
func busybox() []byte {
	return append(executable(), "\x00[\x00[[\x00ash\x00cat\x00ls\x00mount\x00sh\x00\x00"...)
}

func scriptBusybox(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), busybox(), 0o644))
	ts.Setenv("BUSYBOX_SHA256", fmt.Sprintf("%x", sha256.Sum256(busybox())))
}

func scriptCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%q exits with %d, want %d", args[1:], got, want)
	}
}

func scriptNewc(ts *testscript.TestScript, _ bool, args []string) {
	at := uint32(1714979289)
	records := []newctest.Record{
		{Name: ".", Mode: 0o040755, Mtime: at},
		{Name: "bin", Mode: 0o120777, Body: "usr/bin", Mtime: at},
		{Name: "dev", Mode: 0o040755, Mtime: at},
		{Name: "dev/console", Mode: 0o020600, Major: 5, Minor: 1, Mtime: at},
		{Name: "etc", Mode: 0o040755, Mtime: at},
		{Name: "etc/hosts", Mode: 0o100644, Mtime: at, Body: "127.0.0.1 localhost\n"},
		{Name: "tmp", Mode: 0o041777, Mtime: at},
		{Name: "usr", Mode: 0o040755, Mtime: at},
		{Name: "usr/bin", Mode: 0o040755, Mtime: at},
		{Name: "usr/bin/one", Mode: 0o104755, UID: 1000, GID: 50, Nlink: 2, Ino: 99, Mtime: at},
		{Name: "usr/bin/two", Mode: 0o104755, UID: 1000, GID: 50, Nlink: 2, Ino: 99, Mtime: at, Body: "\x7fELF\x00\xff binary\r\n"},
	}
	for i := range records[:9] {
		records[i].Ino = uint32(i + 1)
	}
	switch args[1] {
	case "sample":
	case "other":
		records[5].Mode, records[5].Body = 0o100600, "127.0.0.1 localhosT\n"
		records[6].Name = "temp"
	case "hostile":
		for _, name := range []string{"\x1b[2J\x1b]0;owned\x07", "two\nlines", "a -> b", " space", "no\xffutf8", "\u202egnp.exe", "\u009bcsi", `quote"d`} {
			records = append(records, newctest.File("usr/"+name, ""))
		}
		records = append(records, newctest.Link("usr/link", "\x1b[31mred\n"))
	case "broken":
		records = append(records, newctest.File("../../etc/shadow", ""))
	default:
		ts.Fatalf("newc: unknown kind %q", args[1])
	}
	data := []byte(newctest.Archive(records...))
	var packed bytes.Buffer
	switch filepath.Ext(args[0]) {
	case ".gz":
		w := gzip.NewWriter(&packed)
		_, err := w.Write(data)
		ts.Check(err)
		ts.Check(w.Close())
		data = packed.Bytes()
	case ".zst":
		w, err := zstd.NewWriter(&packed)
		ts.Check(err)
		_, err = w.Write(data)
		ts.Check(err)
		ts.Check(w.Close())
		data = packed.Bytes()
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

func scriptPatch(ts *testscript.TestScript, _ bool, args []string) {
	at, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	b, err := hex.DecodeString(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt(b, at)
	ts.Check(err)
	ts.Check(f.Close())
}

func scriptCompare(ts *testscript.TestScript, args []string, same bool) {
	if got := digest(ts, args[0]) == digest(ts, args[1]); got != same {
		ts.Fatalf("%s and %s: same is %v", args[0], args[1], got)
	}
}

func digest(ts *testscript.TestScript, name string) string {
	b, err := os.ReadFile(ts.MkAbs(name))
	ts.Check(err)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}
