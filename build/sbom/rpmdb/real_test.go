package rpmdb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// TestReadAgreesWithRPM makes databases with the real rpm and Berkeley DB, and holds
// what is read of them against what rpm says.
func TestReadAgreesWithRPM(t *testing.T) {
	testneed.Tool(t, "rpm", "rpmbuild")
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	install(t, db, buildPackages(t, dir))
	file := filepath.Join(db, "rpmdb.sqlite")
	t.Run("sqlite", func(t *testing.T) { compare(t, file, db, "sqlite") })
	t.Run("Berkeley DB", func(t *testing.T) {
		testneed.Tool(t, "db5.3_load")
		old := filepath.Join(dir, "old")
		if err := os.Mkdir(old, 0o755); err != nil {
			t.Fatal(err)
		}
		packages := filepath.Join(old, "Packages")
		load(t, packages, realHeaders(t, file))
		compare(t, packages, old, "bdb_ro")
	})
}

// buildPackages makes packages with long and short headers.
func buildPackages(t *testing.T, dir string) (files []string) {
	for i, extra := range []string{"", "Epoch: 2", "Requires: realpkg0 >= 1, /bin/sh", "Provides: virtual = 3"} {
		var list, files strings.Builder
		for n := range i * 400 {
			fmt.Fprintf(&list, "touch %%{buildroot}/usr/share/realpkg%d-%d\n", i, n)
			fmt.Fprintf(&files, "/usr/share/realpkg%d-%d\n", i, n)
		}
		spec := fmt.Sprintf(`Name: realpkg%d
Version: 1.%d
Release: 7.el9
Summary: Package %d
License: MIT AND (Zlib OR GPL-2.0-or-later)
URL: https://example.com/%d
Vendor: Example Vendor
%s
%%description
A package.
%%install
mkdir -p %%{buildroot}/usr/share
%s
%%files
%s`, i, i, i, i, extra, list.String(), files.String())
		path := filepath.Join(dir, fmt.Sprintf("%d.spec", i))
		if err := os.WriteFile(path, []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
		command(t, "rpmbuild", "-bb", "--quiet", "--nodeps", "--define", "_topdir "+dir, "--target", []string{"x86_64", "noarch"}[i%2], path)
	}
	files, err := filepath.Glob(filepath.Join(dir, "RPMS/*/*.rpm"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%q, %v: want 4 packages", files, err)
	}
	return files
}

func install(t *testing.T, db string, files []string) {
	command(t, "rpm", append([]string{"--dbpath", db, "-i", "--justdb", "--nodeps", "--ignorearch", "--nosignature"}, files...)...)
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s%s", name, err, out, stderr.String())
	}
	return string(out)
}

// compare holds Read against "rpm -qa".
func compare(t *testing.T, file, db, backend string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		got = append(got, strings.Join([]string{
			p.Name, fmt.Sprint(p.Epoch), p.Version, p.Release, p.Arch, p.License, p.Vendor, p.SourceRPM, p.URL,
			strings.Join(p.Requires, ","), strings.Join(p.Provides, ","),
		}, "|"))
	}
	out := command(t, "rpm", "--dbpath", db, "--define", "_db_backend "+backend, "-qa", "--qf",
		"%{NAME}|%{EPOCHNUM}|%{VERSION}|%{RELEASE}|%{ARCH}|%{LICENSE}|%{VENDOR}|%{SOURCERPM}|%{URL}|[%{REQUIRENAME},]|[%{PROVIDENAME},]\n")
	want := strings.Split(strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(out, ",|", "|"), ",\n", "\n"), "\n"), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if len(want) < 4 || !slices.Equal(got, want) {
		t.Errorf("read\n%s\nrpm says\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func realHeaders(t *testing.T, file string) (all [][]byte) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	err = headers(bytes.NewReader(b), int64(len(b)), func(h []byte) error {
		all = append(all, bytes.Clone(h))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// load makes a Berkeley DB hash as rpm did before 4.16.
func load(t *testing.T, file string, headers [][]byte) {
	t.Helper()
	var in strings.Builder
	in.WriteString("VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n")
	fmt.Fprintf(&in, " 00000000\n %02x000000\n", len(headers))
	for i, h := range headers {
		fmt.Fprintf(&in, " %02x000000\n %x\n", i+1, h)
	}
	in.WriteString("DATA=END\n")
	cmd := exec.CommandContext(t.Context(), "db5.3_load", file)
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("db5.3_load: %v: %s", err, out)
	}
}
