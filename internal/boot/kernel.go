package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/guest"
)

// A Kernel is what a machine boots. It is open: Close it.
type Kernel struct {
	Name   string // for people: a path, or the release's address
	Arch   string // in Go's words
	Volant bool   // it is Volant's release, which brings an initramfs with the agent
	Bare   bool   // it is known to bring none
	Notes  []string

	temporary
}

// KernelRequest says where a kernel may come from.
type KernelRequest struct {
	Path    string // a file; nothing else is tried then
	Arch    string // in Go's words; "" means that of the file, else amd64
	Version string // tag of Volant's release; "" means the latest
	BaseURL string // of the GitHub API, see guest.Request
	Token   string

	Cache    *cache.Cache
	CacheDir string // where LeftKernel looks; "" is none
	TempDir  string
	Warn     func(error) // told of what is tried again
}

// LeftKernel is where "make demo" leaves a kernel in the cache folder, without an
// initramfs in it.
func LeftKernel(cacheDir, arch string) string {
	return filepath.Join(cacheDir, "kernel", "vmlinuz-"+arch)
}

// FindKernel opens the kernel that r names, else Volant's own from its release,
// verified, else, when that cannot be reached, the one that "make demo" left.
func FindKernel(ctx context.Context, r KernelRequest) (*Kernel, error) {
	if r.Path != "" {
		return openKernel(r.Path, r.Arch)
	}
	if r.Arch == "" {
		r.Arch = defaultArch
	}
	k, err := releasedKernel(ctx, r)
	if err == nil {
		return k, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	left := LeftKernel(r.CacheDir, r.Arch)
	if r.CacheDir != "" && replaceable(r, err) {
		k, leftErr := openKernel(left, r.Arch)
		if leftErr == nil {
			k.Bare = true
			k.Notes = append(k.Notes, fmt.Sprintf("booting %s instead of Volant's own kernel: %v", left, err))
			return k, nil
		}
		if !errors.Is(leftErr, fs.ErrNotExist) {
			err = errors.Join(err, leftErr)
		}
	}
	return nil, fmt.Errorf("finding a kernel: %w; name a file with --kernel%s", err, otherWays(r, left))
}

// otherWays says how to come by a kernel besides naming a file.
func otherWays(r KernelRequest, left string) string {
	switch {
	case r.Arch != defaultArch:
		return ""
	case r.CacheDir == "":
		return ", or let Volant's own be downloaded from its release on GitHub"
	}
	return ", or let Volant's own be downloaded from its release on GitHub, or run 'make demo' in a checkout of fledge, which leaves one at " + left
}

// defaultArch is what Volant is released for.
const defaultArch = "amd64"

// replaceable tells whether another kernel may stand in for the release's: when
// it cannot be reached, not when something is wrong with it.
func replaceable(r KernelRequest, err error) bool {
	var status *fetch.StatusError
	var network net.Error
	switch {
	case r.Arch != defaultArch: // none is published
		return true
	case errors.As(err, &status):
		switch status.Code {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
			return true
		}
		return status.Code >= 500
	}
	return errors.As(err, &network) || fetch.Temporary(err)
}

func releasedKernel(ctx context.Context, r KernelRequest) (*Kernel, error) {
	// A boot has something to fall back on: two tries are enough.
	policy := fetch.Policy{Attempts: 2, Warn: r.Warn}
	a, err := guest.ResolveKernel(ctx, guest.Request{
		Version: r.Version, Arch: r.Arch, BaseURL: r.BaseURL, Token: r.Token, Fetch: &fetch.Client{Cache: r.Cache, Policy: policy},
	})
	if err != nil {
		return nil, err
	}
	in, err := a.Content.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	k := &Kernel{Name: a.URI, Volant: true}
	if k.temporary, err = spool(r.TempDir); err != nil {
		return nil, err
	}
	if _, err = io.Copy(k.file, in); err == nil {
		k.Arch, err = kernelArch(k.file)
	}
	if err == nil && k.Arch != r.Arch {
		err = fmt.Errorf("it is for %s, the plugin is %s", k.Arch, r.Arch)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading kernel %s: %w", a.URI, err), k.Close())
	}
	return k, nil
}

// openKernel opens a kernel's file. arch, if not "", is what it has to be for.
func openKernel(path, arch string) (*Kernel, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening kernel: %w", err)
	}
	k := &Kernel{Name: path, temporary: temporary{file: f, path: path}}
	k.Arch, err = kernelArch(f)
	if err == nil && arch != "" && k.Arch != arch {
		err = fmt.Errorf("it is for %s, the plugin is %s", k.Arch, arch)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening kernel %s: %w", path, err), k.Close())
	}
	return k, nil
}

// kernelArch tells what a kernel image is for: an x86 bzImage, an arm64 Image, or
// an ELF file.
//
// https://docs.kernel.org/arch/x86/boot.html, https://docs.kernel.org/arch/arm64/booting.html
func kernelArch(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	head := make([]byte, 0x300)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	at := func(offset int, magic string) bool {
		return len(head) >= offset+len(magic) && string(head[offset:offset+len(magic)]) == magic
	}
	switch {
	case at(0x202, "HdrS") && at(0x1fe, "\x55\xaa"):
		// XLF_KERNEL_64 in xloadflags.
		if len(head) < 0x238 || binary.LittleEndian.Uint16(head[0x236:])&1 == 0 {
			return "", errors.New("it is a 32-bit x86 kernel")
		}
		return "amd64", nil
	case at(0x38, "ARM\x64"):
		return "arm64", nil
	case at(0, "\x7fELF\x02\x01") && len(head) >= 20:
		switch machine := binary.LittleEndian.Uint16(head[18:]); machine {
		case 62:
			return "amd64", nil
		case 183:
			return "arm64", nil
		}
	}
	return "", errors.New("it is no Linux kernel: want a bzImage or vmlinux for amd64, or an Image for arm64")
}
