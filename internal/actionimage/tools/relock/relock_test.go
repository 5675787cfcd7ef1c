package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/internal/actionimage/tools"
	"github.com/volant/fledge-action/internal/testneed"
)

func TestAnOfferOfAptIsAPlaceInASnapshot(t *testing.T) {
	const at = "20260102T030405Z"
	for _, c := range []struct {
		line string
		want tools.Package
		file string
	}{
		{
			"'http://mirror.example/debian/pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_arm64.deb' zlib1g_1%3a1.2.13.dfsg-1_arm64.deb 82744 SHA256:52b8",
			tools.Package{Arch: "arm64", Name: "zlib1g", Version: "1:1.2.13.dfsg-1", SHA256: "52b8", Size: 82744, Path: "debian/" + at + "/pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_arm64.deb"},
			"zlib1g_1%3a1.2.13.dfsg-1_arm64.deb",
		},
		{
			"'https://mirror.example/x/debian-security/pool/updates/main/g/glibc/libc6_2.36-9%2bdeb12u7_amd64.deb' libc6_2.36-9+deb12u7_amd64.deb 1 SHA256:00",
			tools.Package{Arch: "amd64", Name: "libc6", Version: "2.36-9+deb12u7", SHA256: "00", Size: 1, Path: "debian-security/" + at + "/pool/updates/main/g/glibc/libc6_2.36-9+deb12u7_amd64.deb"},
			"libc6_2.36-9+deb12u7_amd64.deb",
		},
	} {
		got, file, err := offer(strings.Fields(c.line), at)
		if err != nil || file != c.file {
			t.Errorf("%v, %q", err, file)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []string{
		"", "'http://mirror.example/debian/pool/a' a_1_amd64.deb 1", "'http://mirror.example/debian/a' a_1_amd64.deb 1 SHA256:00",
		"'http://mirror.example/debian/pool/a' a_amd64.deb 1 SHA256:00", "'http://mirror.example/debian/pool/a' a_1_amd64.deb 1 MD5Sum:00",
		"'http://mirror.example/debian/pool/a' ../a_1_amd64.deb 1 SHA256:00", "'http://mirror.example/debian/pool/a' a_1_amd64.deb x SHA256:00",
	} {
		if p, _, err := offer(strings.Fields(bad), at); err == nil {
			t.Errorf("%q is %+v", bad, p)
		}
	}
}

// TestTheFolderOfTestsIsWholeOrFilledAgain damages one package.
func TestTheFolderOfTestsIsWholeOrFilledAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "packages")
	if err := os.CopyFS(dir, os.DirFS(testneed.Packages(t))); err != nil {
		t.Fatal(err)
	}
	lock, err := kept(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, lock.Packages[0].File()), lock.Packages[0].Size-1); err != nil {
		t.Fatal(err)
	}
	if _, err := kept(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "package "+lock.Packages[0].Name) {
		t.Errorf("got %v", err)
	}
	lock.Packages = lock.Packages[1:]
	if err := os.WriteFile(filepath.Join(dir, testneed.PackagesLock), lock.Format(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := kept(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "lacks "+wanted[0].name) {
		t.Errorf("got %v", err)
	}
}
