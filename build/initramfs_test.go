package build

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ocitest"
)

// busyboxFile is a static program with a busybox's lists of applets and of their
// folders: all in /bin but init, which is in /sbin.
var busyboxFile = string(elftest.Program()) + "\x11\x21\x11\x11" + "\x00ash\x00cat\x00cp\x00init\x00ls\x00mkdir\x00rm\x00sh\x00\x00"

// initramfsProject makes a folder with a busybox, an agent and the given files. toml comes after the beginning of fledge.toml, and the
// entries, if there are any, make an image.
func initramfsProject(t *testing.T, toml string, files map[string]string, image ...ocitest.Entry) Request {
	t.Helper()
	dir := t.TempDir()
	text := "version = \"1\"\nstrategy = \"initramfs\"\n" + toml
	if !strings.Contains(toml, "source.busybox") {
		text = strings.Replace(text, "\n[", fmt.Sprintf("\nsource.busybox_url = \"busybox\"\nsource.busybox_sha256 = \"%x\"\n[", sha256.Sum256([]byte(busyboxFile))), 1)
	}
	if image != nil {
		spec := ocitest.Spec{Config: v1.Config{Entrypoint: []string{"/app"}}, Layers: []ocitest.Layer{{Entries: image}}}
		ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": ocitest.Build(t, spec)})
		text = strings.Replace(text, "\n[", "\nsource.image = \"oci:layout:1\"\n[", 1)
	}
	all := map[string]string{"busybox": busyboxFile, "kestrel": string(elftest.Program()), "fledge.toml": text}
	for name, body := range files {
		all[name] = body
	}
	for name, body := range all {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse(filepath.Join(dir, "fledge.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Request{Config: c, WorkDir: dir, Cache: cache.New(cache.Options{}), TempDir: dir}
}

const localAgent = "[agent]\nsource_strategy = \"local\"\npath = \"kestrel\"\n"

// listing reads an archive with the reader of package artifact: names, links with
// their targets, devices with their numbers.
func listing(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	a, err := artifact.Open(t.Context(), f, info.Size(), artifact.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range a.Entries {
		text := fmt.Sprintf("%s %04o", e.Type, e.Mode)
		switch e.Type {
		case artifact.Symlink:
			text = "-> " + e.Target
		case artifact.Char:
			text += fmt.Sprintf(" %d:%d", e.Rdev.Major, e.Rdev.Minor)
		case artifact.File:
			r, err := a.Content(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf(" %.12q", b)
		}
		all[e.Name] = text
	}
	return all
}

// link and program are entries of an image.
func link(name, target string) ocitest.Entry {
	return ocitest.Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}}
}

func program(name string) ocitest.Entry {
	return ocitest.Entry{Header: tar.Header{Name: name, Mode: 0o755}, Body: string(elftest.Program())}
}

func folder(name string, mode int64) ocitest.Entry {
	return ocitest.Entry{Header: tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode}}
}

// TestNoMappingTakesTheInitOfFledge: a folder can bring an init as well as a file.
func TestNoMappingTakesTheInitOfFledge(t *testing.T) {
	prog := string(elftest.Program())
	for _, test := range []struct {
		name, toml string
		files      map[string]string
		want       string // of the error, "" for none
	}{
		{"a folder", localAgent + "[mappings]\n\"root\" = \"/\"\n", map[string]string{"root/init": prog}, `"/init" is fledge's own`},
		{"a file into a folder", localAgent + "[mappings]\n\"init\" = \"/\"\n", map[string]string{"init": prog}, `"/init" is fledge's own`},
		{"a folder, with an init of the project", "[init]\npath = \"my\"\n[mappings]\n\"root\" = \"/\"\n", map[string]string{"root/sbin/init": prog, "my": prog}, `"/sbin/init" is where "init.path" = "my" goes already`},
		{"a folder, and no init of fledge's", "[init]\nnone = true\n[mappings]\n\"root\" = \"/\"\n", map[string]string{"root/init": prog}, ""},
		{"a folder beside it", localAgent + "[mappings]\n\"root\" = \"/\"\n", map[string]string{"root/sbin/init": prog}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := initramfsProject(t, test.toml, test.files)
			_, err := Build(t.Context(), r)
			_, validErr := Validate(t.Context(), r)
			for what, err := range map[string]error{"build": err, "validate": validErr} {
				var errs config.Errors
				switch {
				case test.want == "" && err != nil:
					t.Errorf("%s: %v", what, err)
				case test.want != "" && (!errors.As(err, &errs) || !strings.Contains(err.Error(), test.want) || errs[0].Line == 0):
					t.Errorf("%s: %v, want %q with a place", what, err, test.want)
				}
			}
		})
	}
}

// TestAnInitOfTheProjectGoesBeforeBusyboxLinks: the link that busybox would have is
// nothing of an image.
func TestAnInitOfTheProjectGoesBeforeBusyboxLinks(t *testing.T) {
	r := initramfsProject(t, "[init]\npath = \"my\"\n", map[string]string{"my": string(elftest.Program())})
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		if strings.Contains(w, "gave way") {
			t.Errorf("warning: %s", w)
		}
	}
	got := listing(t, result.Artifact.Path)
	if !strings.HasPrefix(got["sbin/init"], "file 0755") || got["bin/init"] != "" || got["bin/sh"] != "-> busybox" {
		t.Errorf("sbin/init is %s, bin/init %q, bin/sh %q", got["sbin/init"], got["bin/init"], got["bin/sh"])
	}
}

// TestAMappedBusyboxBringsItsOwnLinks: those for another one's applets would lead
// to programs that it may not have.
func TestAMappedBusyboxBringsItsOwnLinks(t *testing.T) {
	r := initramfsProject(t, localAgent+"[mappings]\n\"mine\" = \"/bin/busybox\"\n\"sh\" = \"/usr/bin/sh\"\n",
		map[string]string{"mine": string(elftest.Program()), "sh": string(elftest.Program())})
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range listing(t, result.Artifact.Path) {
		if strings.HasPrefix(text, "->") && strings.HasSuffix(text, "busybox") {
			t.Errorf("%s %s", name, text)
		}
	}
	if !slices.ContainsFunc(result.Warnings, func(w string) bool {
		return strings.Contains(w, `mapped "/bin/busybox"`) && strings.Contains(w, "busybox = false")
	}) {
		t.Errorf("warnings %q", result.Warnings)
	}
}

// TestAwkwardImagesMakeAnInitramfs tries links and files in places that fledge
// fills.
func TestAwkwardImagesMakeAnInitramfs(t *testing.T) {
	for _, test := range []struct {
		name  string
		image []ocitest.Entry
		want  map[string]string // of the listing
		err   string
	}{
		{
			"links of a merged /usr",
			[]ocitest.Entry{folder("usr/bin", 0o755), link("bin", "usr/bin"), link("sbin", "usr/bin"), link("usr/sbin", "bin")},
			map[string]string{"usr/bin/sh": "-> busybox", "usr/bin/kestrel": `file 0755 "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00"`, "sbin": "-> usr/bin"},
			"",
		},
		{
			"links out of the image",
			[]ocitest.Entry{folder("x", 0o755), link("bin", "../../../x"), link("etc", "/../../y"), link("dev", "../z")},
			map[string]string{"x/busybox": `file 0755 "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00"`, "y/hosts": `file 0644 "127.0.0.1\tlo"`, "z/null": "char 0666 1:3"},
			"",
		},
		{"a dangling /bin", []ocitest.Entry{link("bin", "nowhere")}, nil, `/bin is a symbolic link to "/nowhere", which it does not have`},
		{"a /bin that leads in circles", []ocitest.Entry{link("bin", "bin")}, nil, "symbolic links"},
		{"a /sbin that leads in circles", []ocitest.Entry{link("sbin", "sbin")}, map[string]string{"bin/sh": "-> busybox", "sbin": "-> sbin"}, ""},
		{"a dangling /usr/sbin", []ocitest.Entry{link("usr/sbin", "nowhere")}, map[string]string{"bin/sh": "-> busybox"}, ""},
		{"a /sbin that is a file", []ocitest.Entry{ocitest.File("sbin", "x")}, map[string]string{"bin/sh": "-> busybox", "sbin": `file 0644 "x"`}, ""},
		{"an /etc that leads in circles", []ocitest.Entry{link("etc", "etc2"), link("etc2", "etc")}, nil, `"/etc/group"`},
		{
			"a dangling /etc/resolv.conf",
			[]ocitest.Entry{link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")},
			map[string]string{"etc/resolv.conf": "-> ../run/systemd/resolve/stub-resolv.conf"},
			"",
		},
		{"an /init that is a folder", []ocitest.Entry{folder("init", 0o755)}, nil, `the image has a directory at "/init"`},
		{"an /init that is a link", []ocitest.Entry{link("init", "lib/systemd/systemd")}, map[string]string{"init": `file 0755 "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00"`}, ""},
		{
			"odd modes",
			[]ocitest.Entry{folder("tmp", 0o700), folder("root", 0o777), folder("etc", 0o070)},
			map[string]string{"tmp": "dir 0700", "root": "dir 0777", "etc": "dir 0070", "var/tmp": "dir 1777"},
			"",
		},
		{
			"plain files for devices, as an exported container has them",
			[]ocitest.Entry{ocitest.File("dev/console", ""), ocitest.File("dev/null", "x")},
			map[string]string{"dev/console": "char 0600 5:1", "dev/null": "char 0666 1:3"},
			"",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := initramfsProject(t, localAgent, nil, append(test.image, program("app"))...)
			result, err := Build(t.Context(), r)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				if left, _ := filepath.Glob(filepath.Join(r.WorkDir, "*.cpio*")); left != nil {
					t.Errorf("left behind: %q", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := listing(t, result.Artifact.Path)
			for name, want := range test.want {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
}

// TestAnInitThatIsFledgesOwnIsRefused: it would start itself for ever.
func TestAnInitThatIsFledgesOwnIsRefused(t *testing.T) {
	r := initramfsProject(t, "[init]\npath = \"/sbin/start\"\n", nil, program("app"), link("sbin/start", "/init"))
	_, err := Build(t.Context(), r)
	var errs config.Errors
	if !errors.As(err, &errs) || errs[0].Line != 7 || !strings.Contains(err.Error(), "never end") {
		t.Errorf("error %v", err)
	}
}
