package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/volant/fledge-action/build"
)

// reporter shows what a build does, on standard error: a bar that is drawn over
// on a terminal, one line a stage elsewhere.
type reporter struct {
	w        io.Writer
	terminal bool
	verbose  bool
	quiet    bool
	now      func() time.Time
	width    int // columns of the terminal

	begins func(stage *string) // is told each stage; may be nil

	mu      sync.Mutex
	stage   string
	begun   time.Time
	drawn   time.Time
	showing bool // the bar stands on the current line
}

// barEvery is how often the bar is drawn.
const barEvery = 100 * time.Millisecond

// event implements build.Request.Report. It may be called from any goroutine.
func (r *reporter) event(e build.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case build.StageBegins:
		r.endStage()
		r.stage, r.begun = e.Message, r.now()
		if r.begins != nil {
			r.begins(&e.Message)
		}
		if r.verbose && !r.terminal {
			r.line("%s ...", e.Message)
		}
		r.draw(0, 0)
	case build.Detail:
		if r.verbose {
			r.line("  %s", e.Message)
		}
	case build.Warning:
		r.line("warning: %s", e.Message)
	case build.Progress:
		if r.now().Sub(r.drawn) >= barEvery {
			r.draw(e.Done, e.Total)
		}
	}
}

// notice tells everybody of what is no mistake.
func (r *reporter) notice(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line("notice: "+format, args...)
}

func (r *reporter) detail(format string, args ...any) {
	r.event(build.Event{Kind: build.Detail, Message: fmt.Sprintf(format, args...)})
}

// end finishes the last stage. A failed one gets no line of its own: the error follows.
func (r *reporter) end(ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok {
		r.endStage()
	}
	r.clear()
	r.stage = ""
}

func (r *reporter) endStage() {
	if r.stage == "" || r.quiet {
		return
	}
	r.line("%-48s %6.1fs", r.stage, r.now().Sub(r.begun).Seconds())
}

// line writes a line of its own, past the bar. What it shows may come from an
// image, so control characters are made harmless.
func (r *reporter) line(format string, args ...any) {
	if r.quiet && !strings.HasPrefix(format, "warning") {
		return
	}
	r.clear()
	fmt.Fprintln(r.w, oneLine(fmt.Sprintf(format, args...)))
}

func (r *reporter) clear() {
	if r.showing {
		fmt.Fprint(r.w, "\r\x1b[K")
		r.showing = false
	}
}

func (r *reporter) draw(done, total int64) {
	if !r.terminal || r.quiet || r.stage == "" {
		return
	}
	r.drawn = r.now()
	text := r.stage
	if total > 0 {
		const cells = 24
		full := int(min(done, total) * cells / total)
		text = fmt.Sprintf("%s  [%s%s] %s of %s", r.stage, strings.Repeat("=", full), strings.Repeat(" ", cells-full), size(done), size(total))
	}
	if r.width > 0 && len(text) >= r.width {
		text = text[:r.width-1]
	}
	r.clear()
	fmt.Fprint(r.w, printable(text))
	r.showing = true
}

// size shows a number of bytes in the unit people use for it.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// oneLine is printable text on one line, whatever names in it hold.
func oneLine(s string) string { return printable(strings.ReplaceAll(s, "\n", "\ufffd")) }

// printable replaces control characters, which names in images and replies of
// servers may hold, so that they cannot work a terminal or a CI log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
