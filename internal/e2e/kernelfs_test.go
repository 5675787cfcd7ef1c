package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

// kernelFormats are the filesystems that only a kernel writes, with the program that
// checks an image.
var kernelFormats = map[string][]string{
	"xfs":   {"xfs_repair", "-n"},
	"btrfs": {"btrfs", "check", "--readonly"},
}

var kernelBuilt = map[string]*shared[build]{"xfs": {}, "btrfs": {}}

// longLink is a symbolic link that xfs cannot hold: its limit is 1023 bytes.
const longLink = "awkward/symlinks/4000"

var shortLinks shared[string]

// needShortLinks pushes the real image with one more layer that takes longLink away, and
// returns its reference.
func needShortLinks(t *testing.T) string {
	t.Helper()
	source := needRegistry(t)
	return shortLinks.get(t, func() (string, error) {
		var layer bytes.Buffer
		w := tar.NewWriter(&layer)
		err := w.WriteHeader(&tar.Header{Name: path.Join(path.Dir(longLink), ".wh."+path.Base(longLink)), Mode: 0o600})
		if err = errors.Join(err, w.Close()); err != nil {
			return "", err
		}
		from, err := name.NewTag(source)
		if err != nil {
			return "", err
		}
		img, err := remote.Image(from)
		if err != nil {
			return "", err
		}
		if img, err = mutate.AppendLayers(img, static.NewLayer(layer.Bytes(), types.OCIUncompressedLayer)); err != nil {
			return "", err
		}
		to := from.Tag("short")
		return to.String(), remote.Write(to, img)
	})
}

// needKernelBuilt returns what fledge builds from the registry, by root.
func needKernelBuilt(t *testing.T, format string) build {
	t.Helper()
	testneed.Root(t)
	testneed.Tool(t, "mkfs."+format, kernelFormats[format][0])
	source, fledge, kestrel := needShortLinks(t), needProgram(t), needAgent(t)
	return kernelBuilt[format].get(t, func() (build, error) {
		return runFledgeFor("type = \""+format+"\"", fledge, kestrel, source, filepath.Join(scratch, format), 0, "--check-reproducible", "--locked=false")
	})
}

// shown is what is seen of a mount, without what xfs shows twice: a POSIX ACL is an
// attribute of its own there, under an older name.
func shown(s facts.Set) facts.Set {
	for _, f := range s {
		delete(f.Xattrs, "trusted.SGI_ACL_FILE")
		delete(f.Xattrs, "trusted.SGI_ACL_DEFAULT")
	}
	return s
}

// TestRealImageByTheKernelMatchesUmoci compares every name and every field.
func TestRealImageByTheKernelMatchesUmoci(t *testing.T) {
	for format, check := range kernelFormats {
		t.Run(format, func(t *testing.T) {
			b := needKernelBuilt(t, format)
			if out, err := exec.CommandContext(t.Context(), check[0], append(check[1:len(check):len(check)], b.image)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", check[0], err, tail(string(out), 20))
			}
			want := umociFacts(t)
			// umoci cannot unpack this time.
			last := want["awkward/last-time"]
			last.Mtime = facts.Time{Sec: lastTime.Unix()}
			want["awkward/last-time"] = last
			delete(want, longLink)
			dir, unmount := testneed.Mount(t, b.image, "ro")
			defer unmount()
			kernel := shown(readDir(t, dir, facts.Options{Content: true, Extents: facts.NonZero}))
			wantEqual(t, "umoci, then "+format, want, kernel.Without(isAdded), facts.Fields(facts.Data)...)
			if kestrel := kernel["usr/bin/kestrel"]; "sha256:"+kestrel.SHA256 != digest(t, needAgent(t)) || kestrel.Mode != 0o755 || kestrel.UID != 0 {
				t.Errorf("agent is %+v", kestrel)
			}
		})
	}
}

// TestImagesOfEveryFormatHaveOneContent compares what the kernel sees of the formats, as
// far as each can hold it.
func TestImagesOfEveryFormatHaveOneContent(t *testing.T) {
	see := func(image string) facts.Set {
		dir, unmount := testneed.Mount(t, image, "ro")
		defer unmount()
		set := shown(readDir(t, dir, facts.Options{Content: true}))
		maps.DeleteFunc(set, func(name string, _ facts.Fact) bool { return isLostFound(name) || name == longLink })
		return set
	}
	want := see(needBuilt(t).image)
	for format := range kernelFormats {
		wantEqual(t, "ext4, then "+format, want, see(needKernelBuilt(t, format).image), facts.Fields(facts.Data)...)
	}
	wantEqual(t, "ext4, then squashfs", inSquashfs(want), see(needSquashed(t).image), facts.Fields(facts.Data)...)
}

func TestImagesByTheKernelBootWithAKernelOfModules(t *testing.T) {
	for format := range kernelFormats {
		t.Run(format, func(t *testing.T) { wantBoot(t, needKernelBuilt(t, format), format) })
	}
}

// TestImagesByTheKernelAreRead has fledge look into them: it finds nothing wrong, shows what
// they are, and the same content in both.
func TestImagesByTheKernelAreRead(t *testing.T) {
	digests := map[string]bool{}
	for format := range kernelFormats {
		b := needKernelBuilt(t, format)
		inspect := func(args ...string) string {
			t.Helper()
			out, err := exec.CommandContext(t.Context(), needProgram(t), append([]string{"inspect"}, args...)...).CombinedOutput()
			if err != nil {
				t.Errorf("fledge inspect %q of %s: %v: %s", args, format, err, tail(string(out), 20))
			}
			return string(out)
		}
		if out := inspect("--check", b.image); out != "no problems found\n" {
			t.Errorf("%s: %s", format, out)
		}
		if out := inspect(b.image, "usr/bin/kestrel"); !strings.Contains(out, format+" image") || !strings.Contains(out, "kestrel") {
			t.Errorf("%s: %s", format, out)
		}
		if out := inspect("--json", b.image, "usr/bin/kestrel"); !strings.Contains(out, `"`+format+`": {`) {
			t.Errorf("%s: %s", format, out)
		}
		digests[inspect("--content-digest", b.image)] = true
		if got, want := string(b.manifest), digest(t, b.image); !strings.Contains(got, want) {
			t.Errorf("the manifest of %s lacks %s", format, want)
		}
	}
	if len(digests) != 1 {
		t.Errorf("content digests %v", digests)
	}
}
