// Command relock writes the lock of package tools from what this machine's apt offers for
// amd64 and arm64. The machine has to be Debian 12. Its own apt configuration says where
// packages come from; nothing of it is changed, lists and packages go to a temporary folder.
//
//	go run ./internal/actionimage/tools/relock -o internal/actionimage/tools/tools.lock
//
// With -cache it fills the folder that tests take a lock and its packages from, unless
// they are there: what apt offers today, so that a security update breaks no test; on
// another system than Debian 12 what the committed lock lists, from Debian's snapshots.
// Where the two locks differ it says so.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/volant/fledge-action/internal/actionimage/tools"
	"github.com/volant/fledge-action/internal/testneed"
)

var architectures = []string{"amd64", "arm64"}

// wanted are the packages, and patterns of the files that are taken of each, beside its
// licence. A folder named * is the architecture's.
var wanted = []struct {
	name  string
	files []string
}{
	{"xfsprogs", []string{"sbin/mkfs.xfs", "sbin/xfs_repair"}},
	{"btrfs-progs", []string{"sbin/mkfs.btrfs", "bin/btrfs"}},
	{"libblkid1", []string{"usr/lib/*/libblkid.so.1*"}},
	{"libuuid1", []string{"usr/lib/*/libuuid.so.1*"}},
	{"libinih1", []string{"usr/lib/*/libinih.so.*"}},
	{"liburcu8", []string{"usr/lib/*/liburcu.so.8*"}},
	{"libudev1", []string{"usr/lib/*/libudev.so.1*"}},
	{"liblzo2-2", []string{"lib/*/liblzo2.so.2*"}},
	{"libzstd1", []string{"usr/lib/*/libzstd.so.1*"}},
	{"zlib1g", []string{"lib/*/libz.so.1*"}},
	{"libc6", []string{"lib*/ld-linux-*.so.?", "lib/*/ld-linux-*.so.?", "lib/*/libc.so.6"}},
	{"libgcc-s1", []string{"lib/*/libgcc_s.so.1"}}, // libc opens it when a thread is cancelled
	{"gcc-12-base", nil}, // libgcc's licence
	{"base-files", []string{"usr/share/common-licenses/*"}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "relock:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	out := flag.String("o", "", "the lock `file` to write")
	cache := flag.Bool("cache", false, "fill the tests' cache folder")
	flag.Parse()
	if flag.NArg() > 0 || (*out == "") == !*cache {
		return errors.New("want -o FILE or -cache, and no arguments")
	}
	if *cache {
		return fill(ctx)
	}
	temp, err := os.MkdirTemp("", "fledge-relock")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if !debian12() {
		return errors.New("/etc/os-release: this is not Debian 12, whose packages the lock lists; run in such a container")
	}
	lock, err := fromApt(ctx, temp, temp)
	if err != nil {
		return err
	}
	return os.WriteFile(*out, lock.Format(), 0o644)
}

func debian12() bool {
	text, _ := os.ReadFile("/etc/os-release")
	return regexp.MustCompile(`(?m)^ID="?debian"?$`).Match(text) && regexp.MustCompile(`(?m)^VERSION_ID="?12"?$`).Match(text)
}

// fill makes the tests' folder whole, or leaves it as it was.
func fill(ctx context.Context) error {
	dir, err := testneed.PackagesDir()
	if err != nil {
		return err
	}
	committed, err := tools.Committed()
	if err != nil {
		return err
	}
	lock, err := kept(ctx, dir)
	if err != nil {
		fmt.Fprintf(os.Stderr, "relock: %v; filling %s\n", err, dir)
		if lock, err = refill(ctx, dir, committed); err != nil {
			return err
		}
	}
	theirs, ours := lock.Versions(), committed.Versions()
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if theirs[name] != ours[name] {
			fmt.Fprintf(os.Stderr, "relock: NOTE: %s is %s, and %q in the committed lock; renew the lock: make tools-lock\n", name, theirs[name], ours[name])
		}
	}
	return nil
}

// kept is the folder's lock, if all of its packages are there and are those wanted today.
func kept(ctx context.Context, dir string) (*tools.Lock, error) {
	name := filepath.Join(dir, testneed.PackagesLock)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	lock, err := tools.Parse(name, text)
	if err != nil {
		return nil, err
	}
	versions := lock.Versions()
	for _, arch := range architectures {
		for _, w := range wanted {
			if versions[arch+" "+w.name] == "" {
				return nil, fmt.Errorf("%s lacks %s for %s", name, w.name, arch)
			}
		}
		if _, err := (tools.Source{Lock: lock, Debs: dir}).Files(ctx, arch); err != nil {
			return nil, err
		}
	}
	return lock, nil
}

func refill(ctx context.Context, dir string, lock *tools.Lock) (*tools.Lock, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".packages")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	made := filepath.Join(temp, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return nil, err
	}
	if debian12() {
		lock, err = fromApt(ctx, temp, made)
	} else {
		err = fromArchive(ctx, lock, made)
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(made, testneed.PackagesLock), lock.Format(), 0o644); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	return lock, os.Rename(made, dir)
}

func fromArchive(ctx context.Context, lock *tools.Lock, dir string) error {
	for _, p := range lock.Packages {
		deb, err := tools.Source{Lock: lock}.Package(ctx, p)
		if err != nil {
			return fmt.Errorf("package %s for %s: %w", p.Name, p.Arch, err)
		}
		if err := os.WriteFile(filepath.Join(dir, p.File()), deb, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fromApt makes a lock, and puts its packages into debs. apt keeps what it needs in temp.
func fromApt(ctx context.Context, temp, debs string) (*tools.Lock, error) {
	now := time.Now().UTC().Format("20060102T150405Z")
	if _, err := apt(ctx, temp, debs, "update"); err != nil {
		return nil, err
	}
	download := []string{"download"}
	for _, arch := range architectures {
		for _, w := range wanted {
			download = append(download, w.name+":"+arch)
		}
	}
	printed, err := apt(ctx, temp, debs, append(download, "--print-uris")...)
	if err != nil {
		return nil, err
	}
	if _, err := apt(ctx, temp, debs, download...); err != nil {
		return nil, err
	}
	offered := map[string]tools.Package{}
	for line := range strings.Lines(printed) {
		p, saved, err := offer(strings.Fields(line), now)
		if err != nil {
			return nil, fmt.Errorf("apt-get prints %q: %w", line, err)
		}
		if err := os.Rename(filepath.Join(debs, saved), filepath.Join(debs, p.File())); err != nil {
			return nil, err
		}
		offered[p.Arch+" "+p.Name] = p
	}
	lock := &tools.Lock{}
	for _, arch := range architectures {
		for _, w := range wanted {
			p, ok := offered[arch+" "+w.name]
			if !ok {
				return nil, fmt.Errorf("apt does not offer %s for %s", w.name, arch)
			}
			if err := choose(ctx, debs, &p, w.files); err != nil {
				return nil, fmt.Errorf("package %s for %s: %w", p.Name, p.Arch, err)
			}
			lock.Packages = append(lock.Packages, p)
		}
	}
	return lock, nil
}

// apt runs apt-get with lists and a state of its own, for both architectures.
func apt(ctx context.Context, temp, dir string, args ...string) (string, error) {
	state := filepath.Join(temp, "apt")
	for _, name := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, name), 0o755); err != nil {
			return "", err
		}
	}
	var options []string
	for _, o := range []string{
		"Dir::State=" + state, "Dir::State::status=/dev/null", "Dir::Cache=" + filepath.Join(state, "cache"),
		"APT::Architecture=" + architectures[0], "APT::Architectures=" + strings.Join(architectures, ","),
		"Acquire::Languages=none", "APT::Sandbox::User=root", "APT::Update::Error-Mode=any",
		"APT::Update::Post-Invoke-Success::=", "Acquire::Retries=3",
	} {
		options = append(options, "-o", o)
	}
	cmd := exec.CommandContext(ctx, "apt-get", append(append(options, "-q", "-y"), args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("apt-get %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// offer reads a line of apt-get --print-uris: 'URL' NAME SIZE SHA256:DIGEST. saved is the
// name that apt-get gives the package's file.
func offer(words []string, now string) (p tools.Package, saved string, err error) {
	if len(words) != 4 {
		return p, "", fmt.Errorf("%d words, want 4", len(words))
	}
	from, err := url.Parse(strings.Trim(words[0], "'"))
	if err != nil {
		return p, "", err
	}
	saved = words[1]
	archive, place, ok := strings.Cut(from.Path, "/pool/")
	parts := strings.Split(strings.TrimSuffix(saved, ".deb"), "_")
	digest, sha := strings.CutPrefix(words[3], "SHA256:")
	if !ok || len(parts) != 3 || !sha || path.Base(saved) != saved {
		return p, "", errors.New("not a place in a pool with a SHA256")
	}
	version, err := url.PathUnescape(parts[1])
	if err != nil {
		return p, "", err
	}
	size, err := strconv.ParseInt(words[2], 10, 64)
	// debian or debian-security, then the time: the snapshot of then has the package.
	return tools.Package{
		Arch: parts[2], Name: parts[0], Version: version, SHA256: digest, Size: size,
		Path: path.Join(path.Base(archive), now, "pool", place),
	}, saved, err
}

// choose finds the files that the patterns name, and the licence.
func choose(ctx context.Context, debs string, p *tools.Package, patterns []string) error {
	deb, err := tools.Source{Debs: debs}.Package(ctx, *p)
	if err != nil {
		return err
	}
	doc := "usr/share/doc/" + p.Name // a link to another package's folder, or a folder
	unmet := map[string]bool{"a licence": true}
	for _, pattern := range patterns {
		unmet[pattern] = true
	}
	files, err := tools.Read(deb, func(name string) bool {
		if name == doc || name == doc+"/copyright" {
			delete(unmet, "a licence")
			return true
		}
		for _, pattern := range patterns {
			if ok, _ := path.Match(pattern, name); ok {
				delete(unmet, pattern)
				return true
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	if len(unmet) > 0 {
		return fmt.Errorf("it does not have %q", slices.Sorted(maps.Keys(unmet)))
	}
	for _, f := range files {
		p.Files = append(p.Files, f.Name)
	}
	slices.Sort(p.Files)
	return nil
}
