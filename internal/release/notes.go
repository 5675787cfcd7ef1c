package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/go-github/v89/github"
)

// notes are our own ones of a release that this run makes.
func (r *run) notes() string { return cmp.Or(r.o.Body, r.o.Notes) }

// allNotes are these and, where they are asked for, those that GitHub generates.
func (r *run) allNotes(ctx context.Context) (string, error) {
	if !r.o.GenerateNotes {
		return r.notes(), nil
	}
	if r.merged == nil {
		text, err := r.generate(ctx)
		if err != nil {
			return "", err
		}
		r.merged = &text
	}
	return join(r.notes(), *r.merged), nil
}

// generate asks GitHub what was merged. A refusal costs the text, not the release.
func (r *run) generate(ctx context.Context) (string, error) {
	r.c.tell(Stage, "asking for GitHub's notes of %s", r.where())
	req := github.GenerateNotesRequest{TagName: r.tag}
	// GitHub's own choice knows nothing of prefixes.
	before, err := r.c.previous(ctx, r.tag)
	if before != nil {
		req.PreviousTagName = &before.Tag
	}
	var made *github.RepositoryReleaseNotes
	if err == nil {
		made, _, err = r.c.gh.Repositories.GenerateReleaseNotes(ctx, r.c.owner, r.c.repo, req)
		err = r.judge(ctx, "asking for GitHub's notes of "+r.where(), err)
	}
	var refused *Error
	if errors.As(err, &refused) {
		r.warn(ctx, "%v; the release has none of them", refused)
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return made.Body, nil
}

// join puts generated notes behind others, as far as GitHub takes them, and cuts them
// at the end of a line.
func join(notes, more string) string {
	more = strings.TrimSpace(more)
	if notes != "" && more != "" {
		notes = strings.TrimRight(notes, "\n") + "\n\n"
	}
	room := max(0, MaxNotes-utf8.RuneCountInString(notes))
	if utf8.RuneCountInString(more) <= room {
		return notes + more
	}
	for at := range more {
		if room == 0 {
			more = more[:at]
			break
		}
		room--
	}
	more = more[:strings.LastIndexByte(more, '\n')+1]
	return strings.TrimRight(fmt.Sprint(notes, more), "\n")
}
