// Package plugintest makes the files of plugins for tests: the least that builds
// without a network.
package plugintest

import (
	"crypto/sha256"
	"fmt"

	"github.com/volant/fledge-action/internal/elftest"
)

// Initramfs is a project in a folder, which is "" or ends with a slash: fledge.toml and
// the files that it names, by slash-separated names. more stands at the end of
// fledge.toml.
func Initramfs(folder, name, more string) map[string]string {
	busybox := string(elftest.Program()) + "\x00[\x00[[\x00ash\x00cat\x00ls\x00mount\x00sh\x00\x00"
	return map[string]string{
		folder + "busybox": busybox,
		folder + "init.sh": "#!/bin/sh\nexec sh\n# " + name + "\n",
		folder + "fledge.toml": fmt.Sprintf(`version = "1"
strategy = "initramfs"
[plugin]
name = %q
version = "0.1.0"
[init]
path = "init.sh"
[source]
busybox_url = "busybox"
busybox_sha256 = "%x"
[workload]
base_url = "http://127.0.0.1:8000"
%s`, name, sha256.Sum256([]byte(busybox)), more),
	}
}
