// Command mkimage builds the action's image and prints the digest of its index, by
// which a release's action.yml names it. See package actionimage.
//
//	go run ./internal/actionimage/mkimage -version v1.2.3 -o image -push REGISTRY/fledge-action:v1.2.3
//
// The packages that it takes programs from are those of -debs, or fetched from Debian's
// snapshots; their digests are those of the lock in either case.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/volant/fledge-action/internal/actionimage"
	"github.com/volant/fledge-action/internal/actionimage/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var c actionimage.Config
	flag.StringVar(&c.Source, "source", ".", "`folder` of the module")
	flag.StringVar(&c.Version, "version", "", "`version` that the program says it has, such as v1.2.3")
	flag.StringVar(&c.Revision, "revision", "", "`commit`, for a label")
	dir := flag.String("o", "", "write an OCI image layout into this new `folder`")
	from := tools.Flags(flag.CommandLine)
	push := flag.String("push", "", "push to this `reference`, with the credentials of docker login")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	var to name.Reference
	if *push != "" {
		var err error
		if to, err = name.ParseReference(*push, name.StrictValidation); err != nil {
			return err
		}
	}
	var err error
	if c.Tools, err = from(); err != nil {
		return err
	}
	index, err := actionimage.Build(ctx, c)
	if err != nil {
		return err
	}
	if *dir != "" {
		if err := actionimage.Write(*dir, index); err != nil {
			return err
		}
	}
	if to != nil {
		if err := remote.WriteIndex(to, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("pushing to %s: %w", to, err)
		}
	}
	return report(index)
}

// report prints the digest for programs, and sizes for people.
func report(index v1.ImageIndex) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		im, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		layers, err := im.Layers()
		if err != nil {
			return err
		}
		var total int64
		for _, l := range layers {
			size, err := l.Size()
			if err != nil {
				return err
			}
			total += size
		}
		fmt.Fprintf(os.Stderr, "%s %s %.1f MB compressed\n", d.Platform, d.Digest, float64(total)/1e6)
	}
	fmt.Println(digest)
	return nil
}
