package summary

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest values, in characters. What is longer is cut off.
const (
	maxCell  = 300  // in a table or a sentence
	maxText  = 4000 // of a message
	maxLines = 40   // of a message
	maxURL   = 2000 // bytes; a longer one is no link
	maxWord  = 4000 // of a command
)

// clean makes characters harmless that no Markdown escapes: those that work a
// terminal, break lines or turn the direction of text. Line breaks stay with lines.
func clean(s string, most int, lines bool) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n' && lines:
		case r == '\n', r == '\t', unicode.Is(unicode.Zs, r):
			r = ' '
		case r == utf8.RuneError, !unicode.IsGraphic(r):
			r = '\ufffd'
		}
		b.WriteRune(r)
	}
	return strings.ReplaceAll(b.String(), "${{", "$ {{")
}

// longestRun is the length of the longest run of backticks.
func longestRun(s string) int {
	longest, run := 0, 0
	for _, r := range s {
		if run++; r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// code is a value as a code span, whose content means nothing else in Markdown. Of a
// table the bar ends a cell even there, and parsers do not agree on how to escape
// it: it is replaced.
func code(s string) string { return span(s, maxCell) }

func span(s string, most int) string {
	s = strings.ReplaceAll(clean(s, most, false), "|", "¦")
	if strings.TrimSpace(s) == "" {
		return "–"
	}
	fence := strings.Repeat("`", longestRun(s)+1)
	if s[0] == '`' || s[len(s)-1] == '`' || s[0] == ' ' || s[len(s)-1] == ' ' {
		s = " " + s + " "
	}
	return fence + s + fence
}

// plainForm is what Markdown, GitHub and HTML take for nothing but text.
var (
	plainForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.+-]{0,62}[A-Za-z0-9])?$`)
	linkForm  = regexp.MustCompile(`(?i)^(www\.|gh-[0-9]+$|[0-9a-f]{7,64}$)`) // that GitHub makes links of
)

// plain tells whether a value can stand as text.
func plain(s string) bool { return plainForm.MatchString(s) && !linkForm.MatchString(s) }

// text is a short value as text if it is plain, else as code.
func text(s string) string {
	if plain(s) {
		return s
	}
	return code(s)
}

// block is a fenced block of text of others.
func block(language, s string) string {
	s = strings.TrimRight(s, "\n")
	fence := strings.Repeat("`", max(3, longestRun(s)+1))
	return fence + language + "\n" + s + "\n" + fence + "\n"
}

// message is text of others: one line as a span, several as a block.
func message(s string) (inline, fenced string) {
	s = strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
	if !strings.Contains(s, "\n") {
		return span(s, maxText), ""
	}
	lines := strings.Split(clean(s, maxText, true), "\n")
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("… and %d lines more", more))
	}
	return "", block("text", strings.Join(lines, "\n"))
}

// host is what may stand in a link as host and port.
var host = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$|^\[[0-9A-Fa-f:.]+\](:[0-9]+)?$`)

// address is a URL as it may stand in a link; "" if it is none for a browser.
func address(s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Opaque != "" || !host.MatchString(u.Host) {
		return ""
	}
	var b strings.Builder
	for _, c := range []byte(u.String()) {
		switch {
		case c == '&':
			b.WriteString("&amp;")
		case c > ' ' && c < 0x7f && !strings.ContainsRune("\"'()<>[]\\^`{|}$*!", rune(c)):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// link is a value as a link, or without a usable URL as itself.
func link(label, to string) string {
	if to = address(to); to == "" {
		return label
	}
	return "[" + label + "](" + to + ")"
}

// line is a command as a shell wants it.
func (c Command) line() string {
	var words []string
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		words = append(words, shellWord(name)+"="+shellWord(value))
	}
	for _, w := range c.Argv {
		words = append(words, shellWord(w))
	}
	all := strings.Join(words, " ")
	if c.Dir != "" && c.Dir != "." {
		all = "(cd " + shellWord(c.Dir) + " && " + all + ")"
	}
	return all
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@%+=,"

// shellWord quotes a word for a POSIX shell when it needs to be.
func shellWord(s string) string {
	s = clean(s, maxWord, false)
	if s != "" && strings.Trim(s, shellSafe) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// commands is a block of command lines.
func commands(all []Command) string {
	var b strings.Builder
	for _, c := range all {
		b.WriteString(c.line() + "\n")
	}
	return block("sh", b.String())
}

// quoted puts Markdown into an alert of GitHub's.
func quoted(kind, markdown string) string {
	var b strings.Builder
	b.WriteString("> [!" + kind + "]\n")
	for l := range strings.Lines(strings.TrimRight(markdown, "\n") + "\n") {
		b.WriteString(strings.TrimRight("> "+strings.TrimRight(l, "\n"), " ") + "\n")
	}
	return b.String() + "\n"
}

// size shows a number of bytes in the unit people use for it.
func size(n int64) string {
	switch m := abs(n); {
	case m >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case m >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case m >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

func abs(n int64) int64 { return max(n, -n) }

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
