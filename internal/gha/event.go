package gha

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// MaxEvent is how many bytes of an event file are read. GitHub sends none larger than
// 25 MB.
const MaxEvent = 32 << 20

// Event is what started the job, as far as fledge wants to know it. Commits are full
// hexadecimal ids, or "" where the event has none.
type Event struct {
	Base, Head    string // of a pull request: the commits that it goes to and comes from
	Fork          bool   // a pull request from another repository, or from one that is gone
	Before, After string // of a push: the commits; Before is "" when the branch is new, or was forced to another history
}

// payload is the part of GitHub's webhook payloads that is read.
// https://docs.github.com/webhooks/webhook-events-and-payloads
type payload struct {
	Before      string       `json:"before"`
	Forced      bool         `json:"forced"`
	After       string       `json:"after"`
	PullRequest *pullRequest `json:"pull_request"`
}

type pullRequest struct {
	Base side `json:"base"`
	Head side `json:"head"`
}

type side struct {
	SHA  string `json:"sha"`
	Repo *struct {
		FullName string `json:"full_name"`
	} `json:"repo"`
}

// Event reads the event file. Without the variable GITHUB_EVENT_PATH it is the zero
// Event.
func (w *Workflow) Event() (Event, error) {
	name := w.getenv("GITHUB_EVENT_PATH")
	if name == "" {
		return Event{}, nil
	}
	p, err := readPayload(name)
	if err != nil {
		return Event{}, fmt.Errorf("reading the job's event: %w", err)
	}
	var event Event
	var bad error
	event.Before, bad = commit("before", p.Before, bad)
	event.After, bad = commit("after", p.After, bad)
	if p.Forced {
		event.Before = "" // After does not follow on it: what it took back is in no comparison
	}
	if pr := p.PullRequest; pr != nil {
		event.Base, bad = commit("pull_request.base.sha", pr.Base.SHA, bad)
		event.Head, bad = commit("pull_request.head.sha", pr.Head.SHA, bad)
		event.Fork = pr.Head.Repo == nil || !strings.EqualFold(pr.Head.Repo.FullName, w.getenv("GITHUB_REPOSITORY"))
	}
	if bad != nil {
		return Event{}, fmt.Errorf("reading the job's event: %s: %w", name, bad)
	}
	return event, nil
}

func readPayload(name string) (*payload, error) {
	f, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, MaxEvent+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxEvent {
		return nil, fmt.Errorf("%s has more than %d bytes", name, MaxEvent)
	}
	var p payload
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &p, nil
}

var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// commit is a commit's id, "" for none or the id of zeros that stands for none. An
// error that was there before is kept.
func commit(key, id string, before error) (string, error) {
	switch {
	case strings.Trim(id, "0") == "":
		return "", before
	case !commitID.MatchString(id) && before == nil:
		return "", fmt.Errorf("%s is %q, not a commit's id", key, shorten(id, maxQuoted, runeLen))
	}
	return id, before
}
