package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// site listens on IPv4 only: a guest kernel may lack IPv6.
const site = `server {
	listen 80 default_server;
	root /var/www/html;
	location / { try_files $uri $uri/ =404; }
}
`

// changeSite is the change from a freshly installed root to ours. The layer that umoci makes
// of it has whiteouts, changed files, xattrs, and hard links to files of the base.
func changeSite(root string) error {
	at := func(name string) string { return filepath.Join(root, name) }
	if err := removeDefaultSite(root); err != nil {
		return err
	}
	for _, name := range []string{"usr/share/man", "usr/share/doc/attr"} {
		if err := os.RemoveAll(at(name)); err != nil {
			return err
		}
	}
	files := map[string]string{"etc/nginx/conf.d/site.conf": site, "var/www/html/index.html": Page}
	for name, text := range files {
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Link(at("usr/bin/env"), at("usr/local/bin/env-again")); err != nil {
		return err
	}
	if err := unix.Chmod(at("usr/bin/getfattr"), 0o4755); err != nil {
		return err
	}
	// cap_net_bind_service+ep, revision 2 (capabilities(7)).
	if err := unix.Setxattr(at("usr/sbin/nginx"), "security.capability", netBindService, 0); err != nil {
		return err
	}
	return unix.Setxattr(at("var/www/html"), "user.origin", []byte("a \x00 b"), 0)
}

func removeDefaultSite(root string) error {
	for _, name := range []string{"etc/nginx/sites-enabled/default", "var/www/html/index.nginx-debian.html"} {
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			return err
		}
	}
	return nil
}

var netBindService = []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// fill writes files of together size bytes below dir. Half of each is noise and half repeats,
// so that they compress to about 60 %. The bytes are the same every time.
func fill(dir string, size int64) error {
	const fileSize = 20 << 20
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	noise := rand.NewChaCha8([32]byte{1})
	for i := 0; size > 0; i++ {
		n := min(size, fileSize)
		if err := fillFile(filepath.Join(dir, fmt.Sprintf("%05d", i)), noise, n); err != nil {
			return err
		}
		size -= n
	}
	return nil
}

func fillFile(path string, noise io.Reader, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1024)
	for at := int64(0); at < size; at += int64(len(block)) {
		if _, err := io.ReadFull(noise, block[:600]); err != nil {
			return err
		}
		for i := 600; i+8 <= len(block); i += 8 {
			binary.LittleEndian.PutUint64(block[i:], uint64(at)>>16)
		}
		if _, err := f.Write(block[:min(int64(len(block)), size-at)]); err != nil {
			return err
		}
	}
	return f.Close()
}
