//go:build linux

package sibling

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

var (
	isID     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	isName   = regexp.MustCompile(`^[0-9a-f]{12,64}$`)
	idInPath = regexp.MustCompile(`/([0-9a-f]{64})/[^/]+$`)
)

// ownNames are what this process's container may be called, the likeliest first: by the
// files that Docker mounts into each container, and by its host name, which is the
// beginning of its id unless it was given another.
func ownNames(mountinfo, hostname []byte) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	for lines.Scan() {
		// https://docs.kernel.org/filesystems/proc.html: id parent device root mountpoint …
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || !slices.Contains([]string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}, fields[4]) {
			continue
		}
		if m := idInPath.FindStringSubmatch(fields[3]); m != nil {
			add(m[1])
		}
	}
	if name := strings.TrimSpace(string(hostname)); isName.MatchString(name) {
		add(name)
	}
	return names
}

// self finds the container that this process is in, which has one of the names.
func (d *daemon) self(ctx context.Context, names []string) (*container, error) {
	for _, name := range names {
		c, err := d.inspect(ctx, name)
		switch {
		case isStatus(err, http.StatusNotFound):
			continue // of another daemon
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("there is no Docker socket at %s: mount it into this container with -v %s:%s", d.socket, d.socket, d.socket)
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("using the Docker socket %s: %w; run as root in this container", d.socket, err)
		case err != nil:
			return nil, fmt.Errorf("asking the Docker daemon at %s about this container: %w", d.socket, err)
		}
		if c.State.Running && isID.MatchString(c.ID) && strings.HasPrefix(c.ID, name) {
			return c, nil
		}
	}
	return nil, errors.New("this process is in no container of a Docker daemon")
}

// folderPrefix begins the names of the folders that sockets lie in.
const folderPrefix = ".fledge-mount-"

// shared is the folder of a container's volumes in which sockets are put: the first
// of dirs that is in a volume, else any volume.
func (c *container) shared(dirs []string) (string, error) {
	var volumes []string
	for _, v := range c.Mounts {
		info, err := os.Stat(v.Destination)
		if v.RW && (v.Type == "bind" || v.Type == "volume") && err == nil && info.IsDir() {
			volumes = append(volumes, filepath.Clean(v.Destination))
		}
	}
	slices.SortFunc(volumes, func(a, b string) int { return len(b) - len(a) }) // inner ones first
	for _, dir := range dirs {
		for _, v := range volumes {
			if dir == v || strings.HasPrefix(dir, strings.TrimSuffix(v, "/")+"/") {
				return v, nil
			}
		}
	}
	if len(volumes) == 0 {
		return "", errors.New("this container has no writable volume to share with another; give it one for the results, such as -v \"$PWD:/work\"")
	}
	return volumes[0], nil
}

// makeFolder makes a folder for a socket, and removes those of dead processes. It is
// locked as long as the result is open.
func makeFolder(in string) (*os.File, error) {
	sweep(in)
	path, err := os.MkdirTemp(in, folderPrefix+"*")
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err == nil {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP) {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return dir, nil
}

// sweep removes folders that no living process holds. One that has just been made and is
// not locked yet is left alone, because it is empty.
func sweep(in string) {
	entries, err := os.ReadDir(in)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(in, e.Name())
		if !strings.HasPrefix(e.Name(), folderPrefix) || !e.Type().IsDir() {
			continue
		}
		dir, err := os.Open(path)
		if err != nil {
			continue
		}
		names, _ := dir.Readdirnames(1)
		if len(names) > 0 && syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(path)
		}
		_ = dir.Close()
	}
}
