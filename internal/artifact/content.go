package artifact

import (
	"context"
	"io"
	"iter"

	"github.com/volant/fledge-action/build/content"
)

// contentTypes gives a type in the terms of package content.
var contentTypes = map[Type]content.Type{
	File: content.File, Dir: content.Dir, Symlink: content.Symlink, Char: content.Char, Block: content.Block, FIFO: content.FIFO, Socket: content.Socket,
}

// ContentDigest is the content digest of what the artifact holds, which reads every file. A
// compressed archive should have been opened with a Spool: without one it is
// decompressed again for each file.
func (a *Artifact) ContentDigest(ctx context.Context, o content.Options) (string, error) {
	return content.Digest(ctx, a.contentEntries(ctx), o)
}

func (a *Artifact) contentEntries(ctx context.Context) iter.Seq[content.Entry] {
	return func(yield func(content.Entry) bool) {
		for _, e := range a.Entries {
			x := content.Entry{
				Name: e.Name, Type: contentTypes[e.Type], Mode: e.Mode, UID: e.UID, GID: e.GID, Mtime: e.Mtime, Xattrs: e.Xattrs,
				Target: e.Target, Major: e.Rdev.Major, Minor: e.Rdev.Minor, Size: e.Size, LinkOf: e.LinkOf,
				Open: func() (io.ReadCloser, error) { return a.Content(ctx, e) },
			}
			if !yield(x) {
				return
			}
		}
	}
}
