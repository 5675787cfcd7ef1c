package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/internal/ghtest"
)

func TestKernelArch(t *testing.T) {
	old, arm64, elf := bzImage(), make([]byte, 0x400), make([]byte, 64)
	old[0x236] = 0
	copy(arm64[0x38:], "ARM\x64")
	copy(elf, "\x7fELF\x02\x01")
	elf[18] = 62
	elfARM := bytes.Clone(elf)
	elfARM[18] = 183
	riscv := bytes.Clone(elf)
	riscv[18] = 243
	for _, test := range []struct {
		name, want string
		content    []byte
	}{
		{"bzImage", "amd64", bzImage()},
		{"vmlinux", "amd64", elf},
		{"vmlinux for arm64", "arm64", elfARM},
		{"Image", "arm64", arm64},
		{"32 bits", "", old},
		{"cut", "", bzImage()[:0x210]},
		{"another machine", "", riscv},
		{"a page", "", []byte("<html>")},
		{"empty", "", nil},
	} {
		k, err := FindKernel(t.Context(), KernelRequest{Path: write(t, filepath.Join(t.TempDir(), "k"), test.content)})
		if err == nil {
			defer k.Close()
		}
		if (err == nil) != (test.want != "") || err == nil && k.Arch != test.want {
			t.Errorf("%s: %+v, %v", test.name, k, err)
		}
	}
	if _, err := FindKernel(t.Context(), KernelRequest{Path: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	_, err := FindKernel(t.Context(), KernelRequest{Path: write(t, filepath.Join(t.TempDir(), "k"), bzImage()), Arch: "arm64"})
	if err == nil || !strings.Contains(err.Error(), "it is for amd64, the plugin is arm64") {
		t.Errorf("another architecture: %v", err)
	}
}

// release is one with a kernel, as Volant makes them.
func release(tag string, kernel []byte, sum string) ghtest.Release {
	return ghtest.Release{Tag: tag, Assets: []ghtest.Asset{
		{Name: "bzImage", Content: kernel},
		{Name: "checksums.txt", Content: []byte(sum + "  bzImage\n")},
	}}
}

func TestFindKernel(t *testing.T) {
	const local, volants, left = "local", "volants", "left"
	kernel := append(bzImage(), "released"...)
	good := release("v1", kernel, hexSum(kernel))
	wrong := release("v1", kernel, hexSum([]byte("another")))
	noKernel := ghtest.Release{Tag: "v1", Assets: []ghtest.Asset{{Name: "kestrel", Content: []byte("x")}}}
	page := release("v1", []byte("<html>"), hexSum([]byte("<html>")))
	tests := []struct {
		name    string
		release *ghtest.Release
		fault   ghtest.Fault
		request KernelRequest
		left    bool // a kernel of "make demo" is there
		want    string
		errors  []string
	}{
		{"a file needs no release", nil, ghtest.Fault{Status: 500}, KernelRequest{Path: "own"}, true, local, nil},
		{"Volant's own", &good, ghtest.Fault{}, KernelRequest{}, true, volants, nil},
		{"of one release", &good, ghtest.Fault{}, KernelRequest{Version: "1"}, false, volants, nil},
		{"the demo's when GitHub is down", &good, ghtest.Fault{Status: 503}, KernelRequest{}, true, left, nil},
		{"or allows no more requests", &good, ghtest.Fault{Status: 403, Body: `{"message":"API rate limit exceeded"}`}, KernelRequest{}, true, left, nil},
		{"none is published for arm64", &good, ghtest.Fault{}, KernelRequest{Arch: "arm64"}, true, "", []string{"for amd64 only", "; name a file with --kernel"}},
		{"none at all", &good, ghtest.Fault{Status: 503}, KernelRequest{}, false, "", []string{"503", "--kernel", "release on GitHub", "make demo", "vmlinuz-amd64"}},
		{"a wrong checksum is no reason for another kernel", &wrong, ghtest.Fault{}, KernelRequest{}, true, "", []string{"sha256"}},
		{"nor is a release without one", &noKernel, ghtest.Fault{}, KernelRequest{}, true, "", []string{`no asset "bzImage"`}},
		{"nor a tag that is not there", &good, ghtest.Fault{}, KernelRequest{Version: "v9"}, true, "", []string{`"v9"`, "no such tag"}},
		{"nor what is no kernel", &page, ghtest.Fault{}, KernelRequest{}, true, "", []string{"no Linux kernel"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := ghtest.New(t, "volantvm/volant")
			if test.release != nil {
				s.Add(*test.release)
			}
			if test.fault.Status != 0 {
				test.fault.Path = "/"
				s.Fail(test.fault)
			}
			r := test.request
			r.BaseURL, r.CacheDir, r.TempDir = s.URL, t.TempDir(), scratch(t)
			r.Cache = cache.New(cache.Options{Dir: t.TempDir()})
			defer r.Cache.Close()
			if r.Path != "" {
				r.Path = write(t, filepath.Join(t.TempDir(), r.Path), bzImage())
			}
			if test.left {
				at := LeftKernel(r.CacheDir, "amd64")
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, at, append(bzImage(), "left"...))
			}
			k, err := FindKernel(t.Context(), r)
			if err != nil {
				for _, want := range test.errors {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %v, want %q in it", err, want)
					}
				}
				if test.errors == nil || r.Arch != "" && strings.Contains(err.Error(), "demo") {
					t.Error(err)
				}
				return
			}
			defer k.Close()
			checkKernel(t, k, test.want)
		})
	}
}

func checkKernel(t *testing.T, k *Kernel, want string) {
	t.Helper()
	content, err := io.ReadAll(io.NewSectionReader(k.file, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"released": "volants", "left": "left", "": "local"}[string(content[len(bzImage()):])]
	if got != want || k.Volant != (want == "volants") || k.Bare != (want == "left") || (len(k.Notes) > 0) != (want == "left") {
		t.Errorf("%s kernel, want %s: %+v", got, want, k)
	}
}

func TestFindKernelEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := cache.New(cache.Options{})
	defer c.Close()
	_, err := FindKernel(ctx, KernelRequest{BaseURL: "http://127.0.0.1:1", Cache: c, CacheDir: t.TempDir()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestReplaceableIsWhatCannotBeReached(t *testing.T) {
	s := ghtest.New(t, "volantvm/volant")
	for status, want := range map[int]bool{401: true, 403: true, 429: true, 500: true, 503: true, 404: false, 400: false} {
		s.Fail(ghtest.Fault{Path: fmt.Sprint("/tags/v", status), Status: status, Times: 100})
		c := cache.New(cache.Options{})
		_, err := releasedKernel(t.Context(), KernelRequest{Arch: "amd64", Version: fmt.Sprint("v", status), BaseURL: s.URL, Cache: c})
		_ = c.Close()
		if err == nil || replaceable(KernelRequest{Arch: "amd64"}, err) != want {
			t.Errorf("%d %s: replaceable is %v: %v", status, http.StatusText(status), !want, err)
		}
	}
}
