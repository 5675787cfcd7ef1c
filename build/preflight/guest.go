package preflight

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/elfread"
	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/build/tree"
)

const (
	// minFree is the space that Volant's agent needs in a root filesystem, with a
	// margin, in bytes: it copies itself there at each boot.
	minFree = 16 << 20
	// maxNamed is how many names one finding gives.
	maxNamed = 5
)

// mounted are the folders that the agent, or an initramfs' shim, mounts filesystems on
// before it starts the workload. Missing ones are made.
var mounted = []string{"/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/run", "/tmp"}

// mounts finds the folders of the tree that are hidden when the workload runs.
func (c *checker) mounts() []string {
	if c.Medium == Initramfs && len(c.Boot) < 2 {
		return nil // the author's own init does as it likes
	}
	var all []string
	for _, dir := range mounted {
		if at, err := c.Tree.Resolve(dir, true); err == nil && at != "." {
			all = append(all, at)
		}
	}
	return all
}

// rootfs checks what Volant's agent and network make of a root filesystem.
func (c *checker) rootfs() error {
	if err := guest.CheckBootCopy(c.Tree); err != nil {
		c.add(Finding{Key: "source.image", Path: "/usr/local/bin", Message: err.Error(), Fix: "change that in the image", Fatal: true})
	}
	if c.Free < minFree {
		c.add(Finding{
			Key: "filesystem.size_buffer_mb", Fatal: true, Fix: "raise size_buffer_mb",
			Message: fmt.Sprintf("%d bytes are left free, but Volant copies its agent into the root filesystem at each boot and needs %d", c.Free, minFree),
		})
	}
	return c.nameServers()
}

// nameServers notes that no name server is known: the kernel's ip= carries none.
// That is so in most images, and servers that only answer do not miss it.
func (c *checker) nameServers() error {
	const name = "/etc/resolv.conf"
	at, err := c.Tree.Resolve(name, true)
	if err == nil && strings.HasPrefix(at, "proc/") {
		return nil // made by the kernel
	}
	p, wrong := c.find(name)
	is := "names no name server"
	if wrong != nil {
		is = wrong.is
	} else if p.node.Mode.IsRegular() {
		text, err := c.text(name, maxConf)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if words := strings.Fields(line); len(words) > 1 && words[0] == "nameserver" {
				return nil
			}
		}
	}
	c.add(Finding{
		Key: "source.image", Path: name, Note: true,
		Message: fmt.Sprintf("%q %s, and Volant tells a VM no name server: the workload cannot look up names", name, is),
		Fix:     `map a file with a line like "nameserver 192.0.2.1" to /etc/resolv.conf, if it has to`,
	})
	return nil
}

// hiddenFiles warns of files that no process of the running guest sees.
func (c *checker) hiddenFiles() {
	var names []string
	count := 0
	note := func(name string) {
		if count++; len(names) < maxNamed {
			names = append(names, fmt.Sprintf("%q", "/"+name))
		}
	}
	seen := map[string]bool{}
	for _, dir := range c.hidden {
		n, err := c.Tree.Lookup(dir)
		if err != nil || seen[dir] {
			continue
		}
		seen[dir] = true
		c.hiddenBelow(dir, n, note)
	}
	if count == 0 {
		return
	}
	text := strings.Join(names, ", ")
	if count > len(names) {
		text += fmt.Sprintf(" and %d more", count-len(names))
	}
	c.add(Finding{
		Key: "source.image", Path: strings.Trim(names[0], `"`), Fix: "put them elsewhere, or let the workload make them when it starts",
		Message: text + ": hidden at boot, when filesystems are mounted on /proc, /sys, /dev, /run and /tmp",
	})
}

// hiddenBelow notes what a mount on dir hides and a workload may miss: files, and
// folders of other owners than root. Links and devices in /dev come with devtmpfs.
func (c *checker) hiddenBelow(dir string, n *tree.Node, note func(string)) {
	for base, child := range n.Children() {
		name := path.Join(dir, base)
		switch {
		case slices.Contains(c.hidden, name):
			continue
		case child.Mode.IsDir():
			if child.UID != 0 || child.GID != 0 {
				note(name)
			} else {
				c.hiddenBelow(name, child, note)
			}
		case child.Mode.IsRegular() || path.Base(dir) != "dev" && child.Mode.Type()&(fs.ModeDevice|fs.ModeCharDevice) == 0:
			note(name)
		}
	}
}

// scan looks at every dynamic program of an initramfs: those that the workload starts
// have to find their loader and libraries as well.
func (c *checker) scan() error {
	already := map[string]bool{}
	for _, f := range c.findings {
		already[f.Path] = true
	}
	looked, broken := 0, 0
	for name, n := range c.Tree.Walk() {
		if !n.Mode.IsRegular() || n.Mode&0o111 == 0 || n.Content == nil || already["/"+name] {
			continue
		}
		if looked++; looked > MaxPrograms {
			c.add(Finding{Key: "source.image", Message: fmt.Sprintf("only the first %d programs were looked at", MaxPrograms)})
			break
		}
		problems, err := c.scanOne("/"+name, n)
		if err != nil {
			return err
		}
		if len(problems) == 0 {
			continue
		}
		if broken++; broken <= maxNamed {
			p := problems[0]
			c.add(Finding{Key: "source.image", Path: "/" + name, Message: p.message, Fix: p.fix})
		}
	}
	if broken > maxNamed {
		c.add(Finding{
			Key: "source.image", Message: fmt.Sprintf("%d more programs lack their loader or a library", broken-maxNamed),
			Fix: "link them statically, or remove them",
		})
	}
	return nil
}

func (c *checker) scanOne(name string, n *tree.Node) ([]problem, error) {
	f, err := c.elf(n)
	if isFinding(err) || err == nil && (f.Interp == "" || !startable(f)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.start(name)
}

// startable leaves out what is in the way of nothing: libraries and object files.
func startable(f *elfread.File) bool { return f.Entry != 0 && f.Loads > 0 }
