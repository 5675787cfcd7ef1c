package image

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/ocitest"
)

// TestAPinnedImageIsOpenedByDigest: its tag is not even asked for, and it is still
// called what the reference calls it.
func TestAPinnedImageIsOpenedByDigest(t *testing.T) {
	reg, im := ocitest.NewRegistry(t), threeLayers(t)
	ref := reg.Push(t, "team/app:v1", im)
	reg.Push(t, "team/app:v1", ocitest.Build(t, ocitest.Spec{}))
	got, err := Open(t.Context(), ref, Options{Pin: Pin{Digest: im.Digest(), Manifest: im.Digest(), Config: im.ConfigDigest()}})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if got.ManifestDigest != im.Digest() || got.Ref != ref || got.Tag != "v1" || got.Name != "app" || !strings.HasSuffix(got.Repository, "/team/app") {
		t.Errorf("the image is %+v", got)
	}
	if seen := reg.Seen("/manifests/v1"); seen != nil {
		t.Errorf("the tag was asked for: %q", seen)
	}
}

func TestAnotherImageThanThePinnedOneIsRefused(t *testing.T) {
	dir, im := t.TempDir(), threeLayers(t)
	ocitest.Layout(t, filepath.Join(dir, "layout"), map[string]*ocitest.Image{"1": im})
	ocitest.DockerArchive(t, filepath.Join(dir, "docker.tar"), ocitest.Legacy, map[string]*ocitest.Image{"app:1": im})
	other := "sha256:" + strings.Repeat("0", 64)
	for _, test := range []struct {
		ref  string
		pin  Pin
		want error
		text string
	}{
		{"oci:layout:1", Pin{Manifest: other}, ErrPin, "its manifest is " + im.Digest() + ", and " + other + " is pinned"},
		{"oci:layout:1", Pin{Config: other}, ErrPin, "its config is " + im.ConfigDigest() + ", and "},
		{"oci:layout:1", Pin{Digest: other}, ErrNotFound, "blob " + other + " is missing"},
		{"docker-archive:docker.tar", Pin{Config: other}, ErrPin, "its config is "},
		{"docker-archive:docker.tar", Pin{Manifest: other}, ErrPin, "its manifest is without a digest, and "},
		{"oci:layout:1", Pin{Digest: "sha256:0"}, nil, `opening image "oci:layout:1" by digest "sha256:0"`},
		{"oci:layout:1", Pin{Digest: "../../etc/passwd"}, nil, `by digest "../../etc/passwd"`},
	} {
		_, err := Open(t.Context(), test.ref, Options{Dir: dir, Pin: test.pin})
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s with %+v: %v, want %q", test.ref, test.pin, err, test.text)
		}
	}
}

func TestPinnedReferencesNameADigest(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for ref, want := range map[string]bool{
		"nginx": false, "nginx@" + digest: true, "nginx:1@" + digest: true, "docker://h:5000/a@" + digest: true,
		"oci:d": false, "oci:d:1": false, "oci:d@" + digest: true, "oci-archive:a.tar@" + digest: true,
		"docker-archive:a.tar:b:1": false, "docker-archive:a@" + digest: false,
		"docker-daemon:a:1": false, "docker-daemon:a@" + digest: true, "docker-daemon:" + digest: true,
	} {
		r, err := Parse(ref)
		if err != nil {
			if want {
				t.Errorf("%s: %v", ref, err)
			}
			continue
		}
		if r.Pinned() != want {
			t.Errorf("%s is pinned: %v", ref, r.Pinned())
		}
	}
}
