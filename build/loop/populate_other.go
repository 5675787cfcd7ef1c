//go:build !linux

package loop

import (
	"context"
	"os"

	"github.com/volant/fledge-action/build/tree"
)

func (w *writer) fill(context.Context, *os.File, *tree.Tree) error { return errNotLinux }

func settle(*os.File) (int64, error) { return 0, errNotLinux }

func (w *writer) explainHost(err error) error { return err }
