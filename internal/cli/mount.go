package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/loop"
	"github.com/volant/fledge-action/internal/sibling"
)

// mountGrace is how long an interrupted build may take to have its image unmounted. A
// runner sends a second signal after 7.5 seconds.
const mountGrace = 5500 * time.Millisecond

// mountCommand is what runs in a sibling container, for a build in another. It is
// for nobody else, and so it is hidden.
func (p *Program) mountCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "mount SOCKET",
		Short:  "Mount an image for a build in another container",
		Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("want a socket: this command is run by 'fledge build', in a container of its own")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return sibling.Serve(cmd.Context(), args[0], loop.Local{})
		},
	}
}

// mounter is who has the kernel write the image, nil for an image that needs no kernel.
// output is where the artifact goes.
func (p *Program) mounter(ctx context.Context, cfg *config.Config, output string, report *reporter) (loop.Mounter, error) {
	if !cfg.ByKernel() {
		return nil, nil
	}
	p.interruption.Store(&interruption{interrupted, mountGrace})
	return chooseMounter(loop.Type(cfg.Filesystem.Type), loop.Local{}.Available(), func() (loop.Mounter, error) {
		m, err := sibling.Open(ctx, sibling.Options{
			DockerHost: p.Getenv("DOCKER_HOST"), Executable: p.Executable, Dirs: p.socketDirs(output),
		})
		if err != nil {
			return nil, err // not a Mounter that is a nil pointer
		}
		report.detail("a container beside this one will mount the image, over the Docker socket")
		return m, nil
	})
}

// socketDirs are the folders that another container sees as well, if any: best one that
// is no checkout.
func (p *Program) socketDirs(output string) []string {
	var dirs []string
	for _, name := range []string{"RUNNER_TEMP", "TMPDIR"} {
		if dir := p.Getenv(name); filepath.IsAbs(dir) {
			dirs = append(dirs, filepath.Clean(dir))
		}
	}
	if output != "" { // one that ends in a slash is a folder
		dir, _ := filepath.Split(output)
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(p.WorkDir, dir)
		}
		dirs = append(dirs, filepath.Clean(dir))
	}
	return append(dirs, p.WorkDir)
}

// chooseMounter prefers this process to another container. local is why this process
// may not mount, nil if it may.
func chooseMounter(kind loop.Type, local error, other func() (loop.Mounter, error)) (loop.Mounter, error) {
	if local == nil {
		return loop.Local{}, nil
	}
	m, err := other()
	if err != nil {
		return nil, fmt.Errorf(`%s can only be written by the kernel: %w; nor can a container beside this one do it: %w; or build with type = "ext4" or "squashfs", which need neither`, kind, local, err)
	}
	return m, nil
}
