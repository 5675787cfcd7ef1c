package depcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/volant/fledge-action"

// may lists what each package may import beside the standard library and its
// own sub-packages. A package that is not listed must be added with a thought.
var may = map[string][]string{
	"manifest":          {},
	"build/tree":        {},
	"build/cache":       {"golang.org/x/sys/unix"},
	"build/fetch":       {"build/cache", "github.com/klauspost/compress/s2"},
	"build/config":      {"manifest", "internal/spelling", "github.com/BurntSushi/toml"},
	"build/layer":       {"build/tree"},
	"build/lock":        {"build/config", "github.com/BurntSushi/toml"},
	"build/elfread":     {"build/tree"},
	"build/preflight":   {"build/tree", "build/elfread", "build/guest"},
	"build/size":        {"build/tree", "build/elfread"},
	"build/content":     {"build/tree"},
	"build/sbom":        {"build/tree", "build/elfread", "github.com/github/go-spdx/v2/spdxexp/spdxlicenses"},
	"build/mapping":     {"build/tree", "golang.org/x/sys/unix"},
	"build/guest":       {"build/tree", "build/fetch", "build/fetch/", "build/mapping/hostfile"},
	"build/guest/shim":  {},
	"build/image":       {"build/cache", "build/fetch", "internal/spelling", "github.com/google/go-containerregistry/", "github.com/klauspost/compress/", "golang.org/x/sync/"},
	"build/ext4":        {"build/tree", "golang.org/x/sys/unix"},
	"build/loop":        {"build/tree", "internal/tool", "golang.org/x/sys/unix"},
	"build/squashfs":    {"build/tree", "build/initramfs/deflate", "github.com/klauspost/compress/zstd"},
	"build/initramfs":   {"build/tree", "github.com/klauspost/compress/zstd"},
	"build":             {"build/", "manifest", "internal/outfile", "github.com/google/go-containerregistry/pkg/authn", "golang.org/x/sys/unix"},
	"attest/statement":  {},
	"attest/retry":      {},
	"attest/oidc":       {"attest/retry", "attest/statement", "github.com/go-jose/go-jose/v4"},
	"attest/trust":      {"github.com/sigstore/sigstore-go/pkg/root", "github.com/sigstore/sigstore-go/pkg/tuf", "github.com/theupdateframework/go-tuf/v2/metadata"},
	"attest/sign":       {"attest/retry", "attest/statement", "attest/trust", "github.com/sigstore/", "github.com/go-openapi/", "google.golang.org/protobuf/encoding/protojson"},
	"attest/verify":     {"attest/statement", "attest/trust", "github.com/sigstore/sigstore-go/pkg/", "github.com/sigstore/sigstore/pkg/cryptoutils", "github.com/sigstore/sigstore/pkg/signature"},
	"internal/proof":    {"attest/", "build", "build/", "manifest", "internal/outfile"},
	"internal/cli":      {"build", "build/", "manifest", "attest/", "internal/proof", "internal/artifact", "internal/boot", "internal/compare", "internal/merge", "internal/outfile", "internal/plan", "internal/rebuild", "internal/release", "internal/relnotes", "internal/sibling", "internal/tool", "internal/verifytarget", "github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/google/go-containerregistry/pkg/authn"},
	"internal/boot":     {"build/cache", "build/fetch", "build/guest", "manifest", "internal/artifact", "internal/tool", "github.com/klauspost/compress/"},
	"internal/rebuild":  {"attest/statement", "build", "build/config"},
	"internal/spelling": {},
	"internal/tool":     {},
	"internal/sibling":  {"build/image", "build/loop"},
	"internal/release":  {"github.com/google/go-github/v89/github"},
	"internal/relnotes": {"manifest"},
	"internal/plan":     {"build", "build/config", "build/image", "build/lock", "github.com/bmatcuk/doublestar/v4"},
	"internal/summary":  {},
	"internal/merge":    {"attest/statement", "attest/verify", "build", "build/sbom", "internal/outfile", "internal/release", "manifest"},
	"internal/outfile":  {"golang.org/x/sys/unix"},
	"internal/ext4read": {},
	"internal/gha":      {"internal/spelling", "github.com/sethvargo/go-githubactions", "golang.org/x/sys/unix"},
	"internal/artifact": {"build/content", "internal/ext4read", "internal/btrfsread", "internal/squashfsread", "internal/xfsread", "github.com/cavaliergopher/cpio", "github.com/klauspost/compress/"},
	"internal/compare":  {"internal/artifact", "internal/ext4read", "internal/btrfsread", "internal/squashfsread", "internal/xfsread"},
	"internal/action":   {"attest/oidc", "build", "build/config", "internal/cli", "internal/gha", "internal/merge", "internal/outfile", "internal/plan", "internal/release", "internal/summary", "manifest"},
	"cmd/fledge":        {"internal/action", "internal/cli", "internal/outfile", "golang.org/x/crypto/x509roots/fallback", "golang.org/x/term"},

	"internal/pin": {}, // makes release commits; not part of the program

	"internal/squashfsread": {"github.com/klauspost/compress/"},
	"internal/xfsread":      {},
	"internal/btrfsread":    {"github.com/klauspost/compress/"},
	"internal/verifytarget": {"attest/statement", "attest/verify", "build/fetch", "build/fetch/", "manifest"},
}

// testSupport is for tests, measurements and releases, and may import anything: no
// shipped package may import it.
var testSupport = []string{"bench", "internal/acttest", "internal/workflowtest", "internal/actionimage", "internal/bundletest", "internal/depcheck", "internal/dockertest", "internal/e2e", "internal/elftest", "internal/facts", "internal/ghrelease", "internal/gha/actionfile", "internal/ghtest", "internal/newctest", "internal/ocitest", "internal/plugintest", "internal/qemutest", "internal/rpmtest", "internal/runnertest", "internal/sigstoretest", "internal/testneed", "internal/vmtest", "examples"}

// runners are the packages that may import internal/tool, and so run a program.
// internal/boot runs QEMU; internal/cli runs fledge itself, for a second build to compare
// the first with. build/loop is the one that makes artifacts: it runs mkfs and what
// checks xfs and btrfs, which have no other writer, and says that their bytes differ.
var runners = []string{"build/loop", "internal/boot", "internal/cli"}

// banned names functions that bring a hidden input or output into a package, and
// where they are at home.
var banned = []struct {
	call string
	home []string
	why  string
}{
	{"time.Now", []string{"internal/cli", "internal/boot", "attest/retry", "attest/oidc", "attest/sign"}, "pass the time in: no clock reaches an artifact"},
	{"time.Since", []string{"internal/cli", "internal/boot"}, "pass the time in: no clock reaches an artifact"},
	{"os.Getenv", []string{"cmd/fledge"}, "pass the value in: the environment is a hidden input"},
	{"os.LookupEnv", []string{"cmd/fledge"}, "pass the value in: the environment is a hidden input"},
	{"os.Environ", []string{"cmd/fledge"}, "pass the value in: the environment is a hidden input"},
	{"os.Getuid", nil, "owners come from the image"},
	{"os.Hostname", nil, "no host name reaches an artifact"},
	{"os.Exit", []string{"cmd/fledge", "attest/trust/refresh", "internal/pin"}, "return an error"},
	{"log.Fatal", nil, "return an error"},
	{"log.Fatalf", nil, "return an error"},
	{"fmt.Print", nil, "write to a given io.Writer"},
	{"fmt.Printf", nil, "write to a given io.Writer"},
	{"fmt.Println", nil, "write to a given io.Writer"},
	{"exec.Command", []string{"internal/tool"}, "no host tools; what has to be run is run by internal/tool"},
	{"exec.CommandContext", []string{"internal/tool"}, "no host tools; what has to be run is run by internal/tool"},
	{"exec.Cmd", []string{"internal/tool"}, "no host tools; what has to be run is run by internal/tool"},
	{"os.StartProcess", []string{"internal/tool"}, "no host tools; what has to be run is run by internal/tool"},
	{"syscall.Exec", nil, "no host tools"},
}

// exceptions are calls that were looked at and are right where they are.
var exceptions = map[string]string{}

func isTestSupport(pkg string) bool {
	return slices.ContainsFunc(testSupport, func(s string) bool { return pkg == s || strings.HasPrefix(pkg, s+"/") })
}

// rule finds the entry of may for a package: its own or the nearest parent's.
func rule(pkg string) (string, []string, bool) {
	for at := pkg; at != "."; at = filepath.Dir(at) {
		if allowed, ok := may[at]; ok {
			return at, allowed, true
		}
	}
	return "", nil, false
}

func allowed(owner string, list []string, imported string) bool {
	if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
		return true // the standard library
	}
	path := strings.TrimPrefix(imported, module+"/")
	if imported == module || path == owner || strings.HasPrefix(path, owner+"/") && owner != "build" {
		return true
	}
	return slices.ContainsFunc(list, func(a string) bool {
		return path == a || strings.HasSuffix(a, "/") && strings.HasPrefix(path, a)
	})
}

type source struct {
	pkg, path string
	file      *ast.File
	set       *token.FileSet
}

// sources parses the module's Go files, tests aside.
func sources(t *testing.T) []source {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	var all []source
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (d.Name() == "testdata" || rel == "tools" || strings.HasPrefix(d.Name(), ".") && rel != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		all = append(all, source{filepath.ToSlash(filepath.Dir(rel)), rel, f, set})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files found under %s", len(all), root)
	}
	return all
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if isTestSupport(s.pkg) {
			continue
		}
		owner, list, ok := rule(s.pkg)
		if !ok {
			t.Errorf("%s: package %s is not in the table of imports", s.path, s.pkg)
			continue
		}
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if !allowed(owner, list, imported) {
				t.Errorf("%s imports %s, which %s may not", s.path, imported, owner)
			}
		}
	}
}

// TestOnlyRunnersRunPrograms keeps host programs out of builds, whatever the table
// of imports says.
func TestOnlyRunnersRunPrograms(t *testing.T) {
	for pkg, list := range may {
		if slices.Contains(list, "internal/tool") && !slices.Contains(runners, pkg) {
			t.Errorf("%s may import internal/tool", pkg)
		}
		if strings.HasPrefix(pkg, "build") && slices.Contains(list, "internal/boot") {
			t.Errorf("%s may import internal/boot", pkg)
		}
	}
}

func TestBannedCalls(t *testing.T) {
	for _, s := range sources(t) {
		if isTestSupport(s.pkg) {
			continue
		}
		for _, found := range bannedCalls(s) {
			t.Error(found)
		}
	}
}

func bannedCalls(s source) []string {
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok || x.Obj != nil {
			return true
		}
		call := x.Name + "." + sel.Sel.Name
		for _, b := range banned {
			if b.call == call && !slices.Contains(b.home, s.pkg) && exceptions[s.path+" "+call] == "" {
				found = append(found, s.set.Position(n.Pos()).String()+": "+call+": "+b.why)
			}
		}
		return true
	})
	return found
}

func TestEveryPackageHasADoc(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		documented[s.pkg] = documented[s.pkg] || s.file.Doc.Text() != ""
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no documentation", pkg)
		}
	}
}

// TestChecksSeeViolations feeds the checks what they are there to find.
func TestChecksSeeViolations(t *testing.T) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "x.go", "package x\nimport (\"time\"; \"os\")\nvar _ = time.Now\nfunc f() { os.Exit(1) }", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := bannedCalls(source{"build/ext4", "build/ext4/x.go", f, set}); len(got) != 2 {
		t.Errorf("found %q, want time.Now and os.Exit", got)
	}
	for imported, want := range map[string]bool{
		"archive/tar": true, module + "/build/tree": true, module + "/build/layer": true, module + "/build": false,
		module + "/manifest": false, "github.com/spf13/cobra": false,
	} {
		if got := allowed("build/layer", may["build/layer"], imported); got != want {
			t.Errorf("build/layer may import %s: %v, want %v", imported, got, want)
		}
	}
}
