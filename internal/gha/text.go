package gha

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const commandMark, oldCommandMark = "::", "##["

// harmless is a line of which the runner makes no command. The line has been made
// visible: what the runner's comparison overlooks, such as a soft hyphen between two
// colons, is no longer in it.
func harmless(line string) string {
	line = strings.ReplaceAll(line, oldCommandMark, `##\[`)
	text := strings.TrimLeftFunc(line, unicode.IsSpace)
	if strings.HasPrefix(text, commandMark) {
		return line[:len(line)-len(text)] + `\` + text
	}
	return line
}

// colours are the terminal's sequences for them (SGR). They are not content.
var colours = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// visible is a line with all that is not seen, or is not text, written as an escape:
// control characters but the tab, bytes that are not UTF-8, characters of width
// zero, those that turn the direction of writing, unusual line breaks, and marks that
// belong to no letter. Colours are left out.
func visible(line string) string {
	if strings.Contains(line, "\x1b[") {
		line = colours.ReplaceAllString(line, "")
	}
	if isPlain(line) {
		return line
	}
	var b strings.Builder
	base := ' '
	for i, r := range line {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(line[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, line[i])
		case !hidden(r, base):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		if !attached(r) && r != emojiStyle && r != joiner {
			base = r
		}
	}
	return b.String()
}

// isPlain reports whether a line has printable ASCII only, as most have.
func isPlain(line string) bool {
	return strings.IndexFunc(line, func(r rune) bool { return r != '\t' && (r < ' ' || r >= 0x7F) }) < 0
}

// Of an emoji: it is shown in colour, and joined with the next one.
const emojiStyle, joiner = '\uFE0F', '\u200D'

// attached reports whether a character is part of the one before it: a mark, or a
// stroke that makes a letter longer.
func attached(r rune) bool {
	return unicode.Is(unicode.M, r) || strings.ContainsRune("\u0640\u07FA\u180A\u1CD3\uFE73", r)
}

// hidden reports whether a character is not seen or changes how others are. Unicode's
// collation, by which the runner compares, ignores most of these. Some are right behind
// a letter or an emoji: base is what comes before.
func hidden(r, base rune) bool {
	switch {
	case r == '\t' || r == ' ':
		return false
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7F
	case r == emojiStyle || r == joiner:
		return !unicode.Is(unicode.So, base)
	case attached(r) && !unicode.IsLetter(base) && !unicode.IsNumber(base):
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point)
}

func isLineBreak(r rune) bool { return r == '\n' || r == '\r' }

// splitLines splits text as the runner does, which has a line end at \n, \r and \r\n.
func splitLines(text string) []string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n")
}

// utf16Len and runeLen are how many units of UTF-16, and bytes, a character has.
func utf16Len(r rune) int { return max(utf16.RuneLen(r), 1) }

func runeLen(r rune) int { return max(utf8.RuneLen(r), 1) }

// shorten cuts text that is longer than limit, in the unit of length, and ends it
// with an ellipsis then.
func shorten(text string, limit int, length func(rune) int) string {
	const ellipsis = '…'
	total, cut := 0, 0
	for i, r := range text {
		if total+length(ellipsis) <= limit {
			cut = i
		}
		if total += length(r); total > limit {
			return text[:cut] + string(ellipsis)
		}
	}
	return text
}
