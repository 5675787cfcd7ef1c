package action

import (
	"strings"

	"github.com/volant/fledge-action/internal/summary"
)

// shellLine is a command line for a POSIX shell.
func shellLine(words []string) string {
	var all []string
	for _, w := range words {
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@%+=,") != "" {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		all = append(all, w)
	}
	return strings.Join(all, " ")
}

func messages(texts []string) []summary.Message {
	var all []summary.Message
	for _, t := range texts {
		all = append(all, summary.Message{Text: t, Hint: hint(t)})
	}
	return all
}

const checkout = "check the repository out before this step (actions/checkout), and name the file in \"config\""

// hints are what to do in a workflow about what the command line's messages say.
var hints = []struct{ text, hint string }{
	{"no OIDC token", "add \"permissions: id-token: write\" to the job; pull requests of forks never get a token"},
	{`lacks "contents: write"`, "add \"permissions: contents: write\" to the job"},
	{`lacks "attestations: write"`, "add \"permissions: attestations: write\" to the job, or set github-attestations: off"},
	{"other bytes are there", "use a new tag, or set on-conflict: replace"},
	{"is immutable", "use a new tag: this release cannot be changed, and its tag not be used again"},
	{"no such file; see docs/fledge-toml.md", checkout},
	{"no file matches", checkout},
}

// hint is what to do about a message, "" if it says so itself.
func hint(text string) string {
	for _, h := range hints {
		if strings.Contains(text, h.text) {
			return h.hint
		}
	}
	return ""
}
