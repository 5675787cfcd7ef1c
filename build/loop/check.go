package loop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/volant/fledge-action/internal/tool"
)

// checkArgs are the arguments of the program that checks an image, which changes nothing.
func checkArgs(t Type) []string {
	if t == XFS {
		return []string{"-n", "-f", imageFile}
	}
	return []string{"check", "--readonly", imageFile}
}

// maxTail is how much of a check's output an error has, in bytes.
const maxTail = 2 << 10

// check lets the filesystem's own program look at the finished image.
func (w *writer) check(ctx context.Context) error {
	text, err := run(ctx, tool.Command{Argv: append([]string{w.tools.check}, checkArgs(w.opt.Type)...), Files: []*os.File{w.image}})
	if err == nil || ctx.Err() != nil {
		return err
	}
	var failed *tool.Error
	if errors.As(err, &failed) {
		err = fmt.Errorf("%s: %w", w.tools.list[1].Name, failed.Err) // its output is in text
	}
	text = strings.TrimSpace(text)
	if over := len(text) - maxTail; over > 0 {
		text = "... " + text[over:]
	}
	return fmt.Errorf("checking the %s: the kernel has written a filesystem with defects: %w\n%s", w.opt.Type, err, text)
}
