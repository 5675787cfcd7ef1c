package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/config"
)

// oci is a fledge.toml of an image.
func oci(image, more string) string {
	return "version = \"1\"\nstrategy = \"oci_rootfs\"\n[source]\nimage = \"" + image + "\"\n" + more
}

// repository makes a folder with files.
func repository(t testing.TB, files map[string]string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func paths(plugins []Plugin) string {
	var all []string
	for _, p := range plugins {
		all = append(all, p.Config)
	}
	return strings.Join(all, " ")
}

func TestFindReadsEachPlugin(t *testing.T) {
	root := repository(t, map[string]string{
		"web/fledge.toml":      oci("nginx:1.27", "platform = \"linux/aarch64\"\n"),
		"api/fledge.toml":      "version = \"1\"\nstrategy = \"initramfs\"\n[plugin]\nname = \"api-x\"\n",
		"db/fledge.toml":       oci("postgres", ""),
		"db/manifest.toml":     "name = \"database\"\n",
		"db/fledge.lock":       "version = 1\n",
		"web/notes/fledge.txt": "",
	})
	plugins, err := Find(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Matrix(plugins)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"include":[` +
		`{"name":"api-x","config":"api/fledge.toml","platform":"linux/amd64","runner":"ubuntu-24.04","strategy":"initramfs"},` +
		`{"name":"database","config":"db/fledge.toml","platform":"linux/amd64","runner":"ubuntu-24.04","strategy":"oci_rootfs"},` +
		`{"name":"nginx","config":"web/fledge.toml","platform":"linux/arm64","runner":"ubuntu-24.04-arm","strategy":"oci_rootfs"}]}`
	if string(got) != want {
		t.Errorf("matrix\n%s\nwant\n%s", got, want)
	}
	if p := plugins[0]; p.Artifact != "api-x.cpio.gz" || p.Dir != "api" || plugins[1].lockDigest == "" || p.lockDigest != "" {
		t.Errorf("plugins %+v", plugins)
	}
	if none, err := Matrix(nil); err != nil || string(none) != `{"include":[]}` {
		t.Errorf("matrix of nothing %s, %v", none, err)
	}
}

func TestPatterns(t *testing.T) {
	one := func(name string) string { return oci("x", "[plugin]\nname = \""+name+"\"\n") }
	root := repository(t, map[string]string{
		"fledge.toml": one("r"), "a/fledge.toml": one("a"), "a/b/fledge.toml": one("b"), "c/other.toml": one("c"),
		".hidden/fledge.toml": one("h"), "node_modules/x/fledge.toml": one("n"), "a/.git/fledge.toml": one("g"), "d/README": "",
	})
	if err := os.Symlink("a", filepath.Join(root.Name(), "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../fledge.toml", filepath.Join(root.Name(), "d/fledge.toml")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ patterns, want string }{
		{"", "a/b/fledge.toml a/fledge.toml fledge.toml"},
		{"**/fledge.toml", "a/b/fledge.toml a/fledge.toml fledge.toml"},
		{"*/fledge.toml", "a/fledge.toml"},
		{"a/**/fledge.toml ./a/fledge.toml", "a/b/fledge.toml a/fledge.toml"},
		{"a .", "a/fledge.toml fledge.toml"},
		{"c/*.toml", "c/other.toml"},
		{"{a,a/b}/fledge.toml", "a/b/fledge.toml a/fledge.toml"},
		{".hidden/*.toml", ".hidden/fledge.toml"},
		{"**/node_modules/**/fledge.toml", "node_modules/x/fledge.toml"},
		{"a/.git", "a/.git/fledge.toml"},
		{"zzz/*", `looking for plugins: "zzz/*": no file matches; a plugin is a folder with a fledge.toml`},
		{"c", `looking for plugins: "c/fledge.toml": no such file; see docs/fledge-toml.md for how to write one`},
		{"link", `looking for plugins: "link": "link" is a symbolic link: name what it points to`},
		{"link/fledge.toml", `looking for plugins: "link/fledge.toml": "link" is a symbolic link: name what it points to`},
		{"link/*.toml", `looking for plugins: "link": "link" is a symbolic link: name what it points to`},
		{"link/b/**", `looking for plugins: "link/b": "link" is a symbolic link: name what it points to`},
		{"*/b/fledge.toml", "a/b/fledge.toml"},
		{"d/fledge.toml", `looking for plugins: "d/fledge.toml": "d/fledge.toml" is a symbolic link: name what it points to`},
		{"d", `looking for plugins: "d/fledge.toml": "d/fledge.toml" is a symbolic link: name what it points to`},
		{"../x/fledge.toml", `looking for plugins: "../x/fledge.toml": want a path below the current folder`},
		{"{..,a}/fledge.toml", `looking for plugins: "{..,a}/fledge.toml": want a path below the current folder`},
		{"*/../../x", `looking for plugins: "*/../../x": want a path below the current folder`},
		{"/etc/fledge.toml", `looking for plugins: "/etc/fledge.toml": want a path relative to the current folder`},
		{`a\fledge.toml`, `looking for plugins: "a\\fledge.toml": write folders with '/'`},
		{"[a/fledge.toml", `looking for plugins: "[a/fledge.toml": its brackets or braces do not fit together`},
		{strings.Repeat("{a,", MaxBraces+1), `looking for plugins: "{a,{a,{a,{a,{a,{a,{a,{a,{a,": more than 8 braces`},
	} {
		plugins, err := Find(root, strings.Fields(test.patterns))
		got := paths(plugins)
		if err != nil {
			got = err.Error()
			if !errors.As(err, new(*PatternError)) {
				t.Errorf("%q: a %T", test.patterns, err)
			}
		}
		if got != test.want {
			t.Errorf("%q:\n  %s\nwant\n  %s", test.patterns, got, test.want)
		}
	}
	if _, err := Find(root, []string{""}); err == nil {
		t.Error("an empty pattern is taken")
	}
	if _, err := Find(root, []string{strings.Repeat("a", MaxPattern+1)}); err == nil || !strings.Contains(err.Error(), "it has 1025 bytes: 1024 at most") {
		t.Errorf("a long pattern: %v", err)
	}
	if _, err := Find(root, make([]string, MaxPatterns+1)); err == nil || !strings.Contains(err.Error(), "257 patterns: 256 at most") {
		t.Errorf("many patterns: %v", err)
	}
}

func TestAllErrorsOfAllFilesAreTold(t *testing.T) {
	root := repository(t, map[string]string{
		"a/fledge.toml":   oci("nginx", ""),
		"b/fledge.toml":   oci("docker.io/library/nginx:2", ""),
		"c/fledge.toml":   "version = \"1\"\nstrateggy = \"x\"\n",
		"d/fledge.toml":   oci("http://x/y", ""),
		"e/fledge.toml":   oci("x", "[plugin]\nname = \"tilde~\"\n"),
		"f/fledge.toml":   oci("x", "platform = \"linux/riscv64\"\n"),
		"g/fledge.toml":   oci("long", "[plugin]\nname = \""+strings.Repeat("n", MaxName+1)+"\"\n"),
		"h/fledge.toml":   oci("ok", "[plugin]\nname = \""+strings.Repeat("n", MaxName)+"\"\n"),
		"i/fledge.toml":   oci("locked", ""),
		"i/fledge.lock":   "version = 1\n<<<<<<< HEAD\n",
		"j/fledge.toml":   oci("x", ""),
		"j/manifest.toml": "nonsense = 1\n",
	})
	_, err := Find(root, nil)
	var all config.Errors
	if !errors.As(err, &all) {
		t.Fatalf("%T: %v", err, err)
	}
	want := []string{
		`b/fledge.toml:1:1: plugin "nginx" is also a/fledge.toml: write another name in [plugin], such as name = "b"`,
		`c/fledge.toml:2:1: unknown key "strateggy"`,
		`d/fledge.toml:4:9: reading image reference "http://x/y"`,
		`e/fledge.toml:6:8: the plugin's name is "tilde~"`,
		`f/fledge.toml:5:12: no agent runs on architecture "riscv64"`,
		`g/fledge.toml:6:8: the plugin's name has 129 bytes: 128 at most`,
		`i/fledge.lock:2:1: the two sides of a merge are still here`,
		`j/manifest.toml:1:1: `,
	}
	text := err.Error()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
	if strings.Contains(text, "h/fledge.toml") {
		t.Errorf("a name of %d bytes is refused", MaxName)
	}
}

func TestHostilePathsAreRefused(t *testing.T) {
	for _, dir := range []string{"a\nb", "${{ x }}", "$(id)", "`id`", "a'b", `a"b`, "a;b", "a&b", "-rf", "a -o b", " a", "a ", "a  b", "[a]", "a*b", "~root", "a|b", "\u202ea", "a\\b"} {
		root := repository(t, map[string]string{dir + "/fledge.toml": oci("x", "")})
		if plugins, err := Find(root, nil); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, %v", dir, plugins, err)
		}
	}
	for _, dir := range []string{"plugins/web 2", "Größe", ".x", "a+b@c=d,e~f", "_"} {
		root := repository(t, map[string]string{dir + "/fledge.toml": oci("x", "")})
		if _, err := Find(root, []string{dir}); err != nil {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

func TestLimits(t *testing.T) {
	root := repository(t, map[string]string{"a/b/fledge.toml": oci("x", "")})
	for most, want := range map[int]bool{4: true, 3: false} { // ".", "a", "a/b" and the file
		f := &finder{root: root, maxEntries: most}
		if _, err := f.find(nil); (err == nil) != want {
			t.Errorf("%d entries: %v", most, err)
		}
	}
	for depth, want := range map[int]bool{MaxDepth: true, MaxDepth + 1: false} {
		root := repository(t, map[string]string{strings.Repeat("d/", depth) + "fledge.toml": oci("x", "")})
		if _, err := Find(root, nil); (err == nil) != want {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
	f := &finder{root: root, found: map[string]bool{}}
	for i := range MaxPlugins {
		if err := f.add(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.add("more"); err == nil {
		t.Errorf("%d plugins are taken", MaxPlugins+1)
	}
	jobs := make([]Plugin, MaxJobs)
	if _, err := Matrix(jobs); err != nil {
		t.Errorf("%d jobs: %v", MaxJobs, err)
	}
	if _, err := Matrix(append(jobs, Plugin{})); err == nil || !strings.Contains(err.Error(), "257 plugins: GitHub starts 256 jobs at most") {
		t.Errorf("%d jobs: %v", MaxJobs+1, err)
	}
	empty, _ := Matrix([]Plugin{{}})
	fits := MaxMatrix - len(empty)
	if line, err := Matrix([]Plugin{{Config: strings.Repeat("c", fits)}}); err != nil || len(line) != MaxMatrix {
		t.Errorf("a matrix of %d bytes: %v", len(line), err)
	}
	if _, err := Matrix([]Plugin{{Config: strings.Repeat("c", fits+1)}}); err == nil {
		t.Error("a longer matrix is taken")
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("SKIP: root reads every folder; run as an ordinary user")
	}
	root := repository(t, map[string]string{"a/fledge.toml": oci("x", "")})
	if err := os.Chmod(filepath.Join(root.Name(), "a"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(root, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

func TestChanged(t *testing.T) {
	plugins := []Plugin{{Config: "api", Dir: "api"}, {Config: "api/v2", Dir: "api/v2"}, {Config: "web", Dir: "web"}}
	atRoot := append(plugins, Plugin{Config: "root", Dir: "."})
	for _, test := range []struct {
		plugins []Plugin
		prefix  string
		files   string
		want    string
	}{
		{plugins, "", "README.md", ""},
		{plugins, "", "", ""},
		{plugins, ".", "api/main.go", "api"},
		{plugins, "", "api/v2/x/y", "api api/v2"},
		{plugins, "", "web-2/x api2", ""},
		{plugins, "", "web", "web"}, // a submodule
		{atRoot, "", "README.md", "root"},
		{atRoot, "sub", "README.md", ""},
		{atRoot, "sub", "sub/README.md", "root"},
		{atRoot, "sub", "sub/web/x", "web root"},
		{atRoot, "sub", "web/x", ""},
	} {
		if got := paths(Changed(test.plugins, test.prefix, strings.Fields(test.files))); got != test.want {
			t.Errorf("%s in %q: %q, want %q", test.files, test.prefix, got, test.want)
		}
	}
}

func TestTagged(t *testing.T) {
	plugins := []Plugin{{Name: "web", Config: "web"}, {Name: "web-v2", Config: "web-v2"}, {Name: "api", Config: "api"}}
	const all = "web web-v2 api"
	for tag, want := range map[string]string{
		"v1.2.3": all + " = 1.2.3", "1.2.3": all + " = 1.2.3", "v1.0.0-rc.1+x": all + " = 1.0.0-rc.1+x",
		"web/v1.2.3": "web = 1.2.3", "web-v1.2.3": "web = 1.2.3", "web/1": "web = 1", "api-1.0": "api = 1.0",
		"web-v2-v1.0.0": "web-v2 = 1.0.0", "web-v2/v1.0.0": "web-v2 = 1.0.0", "web-v2": "web = 2",
		"lib/v1.2.3": " = 1.2.3", "release": all + " = ", "release-v1": all + " = ", "web/release": all + " = ", "": all + " = ",
	} {
		selected, version := Tagged(plugins, tag)
		if got := paths(selected) + " = " + version; got != want {
			t.Errorf("%q: %q, want %q", tag, got, want)
		}
	}
}

func TestCacheKeyFollowsItsFiles(t *testing.T) {
	files := map[string]string{"a/fledge.toml": oci("x", ""), "b/fledge.toml": oci("y", "")}
	key := func() string {
		plugins, err := Find(repository(t, files), nil)
		if err != nil {
			t.Fatal(err)
		}
		return CacheKey(plugins)
	}
	first := key()
	if len(first) != len("fledge-")+64 || key() != first {
		t.Errorf("key %q", first)
	}
	seen := map[string]bool{first: true}
	for name, text := range map[string]string{"a/fledge.toml": oci("x:2", ""), "b/fledge.lock": "version = 1\n", "c/fledge.toml": oci("z", "")} {
		files[name] = text
		if k := key(); seen[k] {
			t.Errorf("%s changes nothing", name)
		} else {
			seen[k] = true
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("**/fledge.toml", "a")
	f.Add("{a,b}/[a-z]*", "${{")
	f.Add("../*", "a\nb")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if name == "" || len(name) > 64 || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
			return
		}
		root := repository(t, map[string]string{name + "/fledge.toml": oci("x", ""), "a/b/fledge.toml": oci("y", "")})
		plugins, err := Find(root, []string{pattern})
		if err != nil {
			return
		}
		line, err := Matrix(plugins)
		if err != nil || strings.ContainsAny(string(line), "\n\r`$\\'") || len(plugins) == 0 {
			t.Fatalf("%q: %s, %v", pattern, line, err)
		}
		var back struct{ Include []Plugin }
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		for i, p := range back.Include {
			if diff := cmp.Diff(p.Config, plugins[i].Config); diff != "" || !filepath.IsLocal(p.Config) {
				t.Fatal(diff, p.Config)
			}
		}
	})
}
