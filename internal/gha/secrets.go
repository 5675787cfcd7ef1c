package gha

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// minSecretLine is how long a line of a secret with several has to be to be secret
// by itself, in bytes.
const minSecretLine = 5

// minRefused is how long a secret has to be for an output that holds it to be
// refused: a password such as "image" is in many values that do not come from it.
const minRefused = 12

const masked = "***"

// secrets are texts that are not shown, longest first: one may hold another.
type secrets struct {
	texts    []string
	replacer *strings.Replacer
}

// add takes in a secret, and returns the lines of it that are new.
func (s *secrets) add(secret string) []string {
	var added []string
	for _, line := range secretLines(secret) {
		if slices.Contains(s.texts, line) {
			continue
		}
		added = append(added, line)
		for _, form := range append([]string{line}, otherForms(line)...) {
			if !slices.Contains(s.texts, form) {
				s.texts = append(s.texts, form)
			}
		}
	}
	if added == nil {
		return nil
	}
	slices.SortStableFunc(s.texts, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(s.texts))
	for _, text := range s.texts {
		pairs = append(pairs, text, masked)
	}
	s.replacer = strings.NewReplacer(pairs...)
	return added
}

// secretLines are the lines of a secret that are masked, without the white space
// around them.
func secretLines(secret string) []string {
	lines := strings.FieldsFunc(secret, isLineBreak)
	var keep []string
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line != "" && (len(lines) == 1 || len(line) >= minSecretLine) {
			keep = append(keep, line)
		}
	}
	return keep
}

// otherForms are how a line looks inside of quoted strings and URLs.
func otherForms(line string) []string {
	quoted := strconv.Quote(line)
	var forms []string
	for _, form := range []string{quoted[1 : len(quoted)-1], url.QueryEscape(line), url.PathEscape(line)} {
		if form != line {
			forms = append(forms, form)
		}
	}
	return forms
}

// redact replaces all secrets in text.
func (s *secrets) redact(text string) string {
	if s.replacer == nil {
		return text
	}
	return s.replacer.Replace(text)
}

// refused reports whether text holds a secret that is too long to be there by chance.
func (s *secrets) refused(text string) bool {
	return slices.ContainsFunc(s.texts, func(secret string) bool {
		return len(secret) >= minRefused && strings.Contains(text, secret)
	})
}

// cut is how much of text can be written while more of it is to come, so that no
// secret is written in two pieces: neither one that text ends in the middle of, nor
// one that the cut would then go through.
func (s *secrets) cut(text string) int {
	n := len(text) - s.unfinished(text)
	for moved := true; moved; {
		moved = false
		for _, secret := range s.texts {
			from, to := max(n-len(secret)+1, 0), min(n+len(secret)-1, len(text))
			if i := strings.Index(text[from:to], secret); i >= 0 {
				n, moved = from+i, true
			}
		}
	}
	return n
}

// unfinished is the length of the longest end of text with which a secret begins
// that does not end in it.
func (s *secrets) unfinished(text string) int {
	longest := 0
	for _, secret := range s.texts {
		for n := min(len(secret)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, secret[:n]) {
				longest = n
			}
		}
	}
	return longest
}
