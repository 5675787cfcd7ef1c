package preflight

import (
	"debug/elf"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/elftest"
)

// fuzzGuest has the bytes as its program, as the interpreter and library of another one,
// as a loader's configuration and cache, and in an initramfs.
func fuzzGuest(t testing.TB, b []byte, m Medium) Guest {
	g := guestOf(t, debian(root{
		"app": b, "lib2/libx.so": b, "etc/ld.so.cache": data(b), "etc/ld.so.conf": data(b), "etc/resolv.conf": data(b), "etc/ld-musl-x86_64.path": data(b),
		"other":     elftest.Make(elftest.Spec{Type: elf.ET_DYN, Interp: glibcLoader, Needed: []string{"libx.so", "liby.so"}, Runpath: "/lib2"}),
		"third":     "#!/app\n",
		"fourth":    elftest.Dynamic("/app", "libx.so"),
		"init":      "#!/usr/bin/env app\n",
		"usr/lib/x": link("/etc/" + strings.ReplaceAll(string(b[:min(len(b), 20)]), "\x00", "")),
	}), "/app")
	g.Medium, g.Env = m, map[string]string{"PATH": "/", "LD_LIBRARY_PATH": string(b)}
	if m == Initramfs {
		g.Boot = []string{"/init", "/third"}
	}
	return g
}

var fuzzSeeds = [][]byte{
	elftest.Program(), elftest.Dynamic(glibcLoader, "libx.so", "libc.so.6"), elftest.Library("libx.so", "liby.so"),
	[]byte("#!/usr/bin/env -S A=b sh -e\r\n"), []byte("#!/bin/sh"), []byte("include /etc/*.conf\n/lib2=libc6 # x\n"), []byte("/lib2/liby.so\x00"), nil,
}

// What the seeds hold is reached: programs that start, and some that do not.
func TestSeedsAreLookedAt(t *testing.T) {
	good := 0
	for _, b := range fuzzSeeds {
		fatal := false
		for _, line := range check(t, fuzzGuest(t, b, Rootfs)) {
			fatal = fatal || strings.HasPrefix(line, "fatal")
		}
		if !fatal {
			good++
		}
	}
	if good != 2 {
		t.Errorf("%d seeds are programs that start, want 2", good)
	}
}

func FuzzProgram(f *testing.F) {
	for _, b := range fuzzSeeds {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []Medium{Rootfs, Initramfs} {
			g := fuzzGuest(t, b, m)
			all, err := Check(t.Context(), g)
			if err != nil {
				t.Fatal(err)
			}
			fatal := true
			for _, f := range all {
				if f.Message == "" || f.Key == "" || f.Fatal && !fatal {
					t.Errorf("finding %+v", f)
				}
				fatal = f.Fatal
			}
			c := &checker{Guest: g, ctx: t.Context(), files: map[*tree.Node]parsed{}, system: map[string]found{}}
			if _, err := c.start("/other"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
