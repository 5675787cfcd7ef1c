package guest

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
)

func TestSkeleton(t *testing.T) {
	tr := tree.New()
	if err := Skeleton(tr, epoch); err != nil {
		t.Fatal(err)
	}
	// By hand, from the Filesystem Hierarchy Standard and the kernel's list of
	// devices (Documentation/admin-guide/devices.txt).
	for name, want := range map[string]string{
		".": "drwxr-xr-x", "tmp": "dtrwxrwxrwx", "var/tmp": "dtrwxrwxrwx", "root": "drwx------", "proc": "dr-xr-xr-x", "sys": "dr-xr-xr-x",
		"dev": "drwxr-xr-x", "dev/console": "Dcrw------- 5:1", "dev/null": "Dcrw-rw-rw- 1:3", "etc/passwd": "-rw-r--r--", "usr/local/bin": "drwxr-xr-x",
		"mnt": "drwxr-xr-x", "var/run": "Lrwxrwxrwx /run",
	} {
		n, err := tr.Lookup(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := n.Mode.String() + " " + n.Target
		if n.Mode&fs.ModeDevice != 0 {
			got = fmt.Sprintf("%v %d:%d", n.Mode, n.Rdev.Major, n.Rdev.Minor)
		}
		if strings.TrimSpace(got) != want || n.UID != 0 || n.GID != 0 {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for name, n := range tr.Walk() {
		if name != "." && !n.ModTime.Equal(epoch) {
			t.Errorf("%s has time %v", name, n.ModTime)
		}
	}
}

func TestSkeletonLeavesWhatAnImageHas(t *testing.T) {
	tr := tree.New()
	put(t, tr, "etc/passwd", &tree.Node{Mode: 0o600, Content: tree.Bytes("theirs")})
	put(t, tr, "usr/bin/x", program("x"))
	put(t, tr, "bin", linkTo("usr/bin"))
	put(t, tr, "tmp", &tree.Node{Mode: fs.ModeDir | 0o700})
	put(t, tr, "dev", linkTo("/data/dev"))
	if err := Skeleton(tr, epoch); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"etc/passwd": 0o600, "bin": fs.ModeSymlink | 0o777, "tmp": fs.ModeDir | 0o700, "data/dev/null": fs.ModeDevice | fs.ModeCharDevice | 0o666,
	} {
		if n, err := tr.Lookup(name); err != nil || n.Mode != want {
			t.Errorf("%s: %v, %v", name, n, err)
		}
	}
}

func TestSkeletonRefusesAFileWhereAFolderMustBe(t *testing.T) {
	tr := tree.New()
	put(t, tr, "dev", program("a file"))
	err := Skeleton(tr, epoch)
	if err == nil || !strings.Contains(err.Error(), `"/dev"`) {
		t.Errorf("error %v", err)
	}
}

func TestInstallInit(t *testing.T) {
	tr := tree.New()
	if warning, err := InstallInit(tr, "/sbin/init", tree.Bytes("mine"), epoch); warning != "" || err != nil {
		t.Errorf("%q, %v", warning, err)
	}
	warning, err := InstallInit(tr, "/sbin/init", tree.Bytes("again"), epoch)
	if err != nil || !strings.Contains(warning, `"/sbin/init"`) {
		t.Errorf("%q, %v", warning, err)
	}
	n, err := tr.Lookup("sbin/init")
	if err != nil || n.Mode != 0o755 || n.Size() != 5 {
		t.Errorf("%+v, %v", n, err)
	}
	put(t, tr, "init", &tree.Node{Mode: fs.ModeDir | 0o755})
	if _, err := InstallInit(tr, "/init", tree.Bytes("x"), epoch); err == nil {
		t.Error("a directory gave way")
	}
}
