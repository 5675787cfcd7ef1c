package guest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// The busybox of the distribution tells its applets itself. It is run here only
// to ask for a second opinion.
func TestAppletsAgreeWithBusybox(t *testing.T) {
	testneed.Tool(t, "busybox")
	program, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "--list-full").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range applets(binary) {
		got = append(got, string(a))
	}
	if want := strings.Fields(string(out)); !slices.Equal(got, want) {
		t.Errorf("%d applets, busybox says %d:\n%q\n%q", len(got), len(want), got, want)
	}
}

// table is a busybox's table of names as it stands in the binary.
func table(names ...string) string { return strings.Join(names, "\x00") + "\x00\x00" }

// folders is the array of folders for names, all in bin but those given.
func folders(names []string, of map[string]byte) string {
	array := make([]byte, (len(names)+1)/2)
	for i, name := range names {
		dir := byte(1)
		if d, ok := fixedDirs[name]; ok {
			dir = d
		}
		if d, ok := of[name]; ok {
			dir = d
		}
		array[i/2] |= dir << (4 * (i % 2))
	}
	return string(array)
}

func TestAppletsOfMadeUpBinaries(t *testing.T) {
	few := []string{"[", "[[", "ash", "cat", "ls", "sh"}
	many := []string{"ash", "awk", "cat", "chroot", "init", "linuxrc", "ls", "mount", "reboot", "sh", "wc"}
	code := strings.Repeat("\x7f\x99\x90", 100)
	for _, tt := range []struct {
		name   string
		binary string
		want   string
	}{
		{"empty", "", ""},
		{"no table", code, ""},
		{"names alone go to bin", code + "\x00" + table(few...) + code, "bin/[ bin/[[ bin/ash bin/cat bin/ls bin/sh"},
		{"the first name may follow any byte", code + table(few...) + code, "bin/[ bin/[[ bin/ash bin/cat bin/ls bin/sh"},
		{"upper case before the table", "\x00BIN\x00" + table(few...), "bin/[ bin/[[ bin/ash bin/cat bin/ls bin/sh"},
		{"a shorter list elsewhere", "\x00" + table("cat", "ls", "sh") + code + "\x00" + table(few...), "bin/[ bin/[[ bin/ash bin/cat bin/ls bin/sh"},
		{
			"with folders", folders(many, map[string]byte{"init": 2, "linuxrc": 0}) + code + "\x00" + table(many...),
			"bin/ash usr/bin/awk bin/cat usr/sbin/chroot sbin/init linuxrc bin/ls bin/mount sbin/reboot bin/sh usr/bin/wc",
		},
		{
			"folders that disagree", folders(many, map[string]byte{"init": 2}) + code + folders(many, map[string]byte{"init": 1}) + "\x00" + table(many...),
			"bin/ash bin/awk bin/cat bin/chroot bin/init bin/linuxrc bin/ls bin/mount bin/reboot bin/sh bin/wc",
		},
		{"the table begins where the order does", "\x00" + table("cat", "ash", "ls", "sh"), "bin/ash bin/ls bin/sh"},
		{"out of order", "\x00" + table("cat", "ls", "kill", "sh"), ""},
		{"no end", "\x00" + strings.TrimRight(table(few...), "\x00"), ""},
		{"too few", "\x00" + table("cat", "sh"), ""},
		{"a name that climbs", "\x00" + table("../x", "cat", "ls", "sh"), "bin/cat bin/ls bin/sh"},
		{"a slash in a name", "\x00" + table("cat", "l/s", "ls", "sh"), ""},
		{"a name that is too long", "\x00" + table("cat", "l"+strings.Repeat("s", maxApplet), "sh"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, a := range applets([]byte(tt.binary)) {
				got = append(got, string(a))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got  %q\nwant %q", strings.Join(got, " "), tt.want)
			}
		})
	}
}

// TestHostileBusyboxesCostLittle: many tables of the largest size, each with every
// name that is searched for, and no name that ends one. The counts are of memory,
// which does not depend on the machine.
func TestHostileBusyboxesCostLittle(t *testing.T) {
	var names []string
	for i := 0; len(names) < maxApplets-5; i++ {
		names = append(names, fmt.Sprintf("a%05d", i))
	}
	one := "\x00" + table(append(names, "ash", "busybox", "cat", "ls", "sh")...)
	binary := []byte(strings.Repeat(one, 64))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	list := applets(binary)
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(binary)); got > limit {
		t.Errorf("%d bytes of memory for %d bytes of busybox, want %d at most", got, len(binary), limit)
	}
	if len(list) != maxApplets {
		t.Errorf("%d applets, want %d", len(list), maxApplets)
	}
}

func FuzzApplets(f *testing.F) {
	f.Add([]byte("\x00" + table("[", "[[", "ash", "cat", "ls", "sh")))
	f.Add([]byte(table("cat", "ls", "sh") + "\x00cat\x00"))
	f.Fuzz(func(t *testing.T, binary []byte) {
		for _, a := range applets(binary) {
			if strings.Contains(string(a), "..") && strings.HasPrefix(string(a), "..") || strings.HasPrefix(string(a), "/") || bytes.IndexByte([]byte(a), 0) >= 0 {
				t.Errorf("applet %q", a)
			}
		}
	})
}
