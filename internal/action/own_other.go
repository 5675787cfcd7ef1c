//go:build !unix

package action

import "io/fs"

func ownerOf(fs.FileInfo) (uid, gid int, ok bool) { return 0, 0, false }

func stampOf(fs.FileInfo) (stamp, bool) { return stamp{}, false }
