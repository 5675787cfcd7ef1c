package release

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v89/github"
)

// ExchangeTime is how long each step of an exchange of names may take. They go on when
// the context has ended.
const ExchangeTime = 8 * time.Second

const (
	// An upload that broke off leaves an empty asset, which has the state
	// "starter", as one that is under way has. A foreign one is taken for the
	// latter until it is so old, by the server's time, and longer by what a file
	// takes at a slow line's speed.
	starterAge  = 2 * time.Minute
	slowLine    = 4 << 20 // bytes a second
	starterWait = 30 * time.Second
	// How long a run waits for other runs' uploads, in all, before that counts as
	// a failure.
	waitForOthers = 30 * time.Minute
)

// remote is an asset as GitHub describes it.
type remote struct {
	id          int64
	name, state string
	size        int64
	digest      string // "" when GitHub gives none
	url         string
	created     time.Time
}

func remoteOf(a *github.ReleaseAsset) *remote {
	return &remote{
		id: a.GetID(), name: a.GetName(), state: a.GetState(), size: int64(a.GetSize()), digest: a.GetDigest(),
		url: a.GetBrowserDownloadURL(), created: a.GetCreatedAt().Time,
	}
}

// whole tells whether the asset's bytes have arrived.
func (a *remote) whole() bool { return a.state == "uploaded" }

// freshName is the name under which an asset's replacement is uploaded. It tells the
// bytes, so that another run takes over what this one began.
func freshName(a Asset) string { return a.Name + freshMark + a.Digest[len("sha256:"):][:freshHex] }

// oldName is the name that an asset has while its replacement gets its name.
func oldName(name string, id int64) string { return fmt.Sprintf("%s%s%d", name, oldMark, id) }

// of tells which name an asset has, or had, or is to get. Only what surely is of our
// making counts as the remains of a replacement: the name tells the asset's own id, or
// the start of its own digest.
func (a *remote) of() (name, mark string) {
	if base, id, ok := cutLast(a.name, oldMark); ok && id == fmt.Sprint(a.id) && a.whole() {
		return base, oldMark
	}
	base, hex, ok := cutLast(a.name, freshMark)
	if ok && len(hex) == freshHex && (!a.whole() || a.digest == "" || strings.HasPrefix(a.digest, "sha256:"+hex)) {
		return base, freshMark
	}
	return a.name, ""
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i > 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// list reads a release's assets, by name.
func (r *run) list(ctx context.Context, id int64) (map[string]*remote, error) {
	what := "listing assets of " + r.where()
	all := map[string]*remote{}
	for page := 1; page <= MaxAssets/perPage+1; page++ {
		assets, resp, err := r.c.gh.Repositories.ListReleaseAssets(ctx, r.c.owner, r.c.repo, id, &github.ListOptions{Page: page, PerPage: perPage})
		if isStatus(err, http.StatusNotFound) {
			return nil, r.gone(what, err)
		}
		if err != nil {
			return nil, r.judge(ctx, what, err)
		}
		for _, a := range assets {
			if a != nil {
				all[a.GetName()] = remoteOf(a)
			}
		}
		if resp.NextPage == 0 {
			break
		}
	}
	return all, nil
}

// same tells whether an asset has the wanted bytes. Of one without a digest, as older
// servers have them, the bytes are read.
func (r *run) same(ctx context.Context, want Asset, at *remote) (bool, error) {
	if at == nil || !at.whole() || at.size != want.Size {
		return false, nil
	}
	if at.digest == "" {
		if r.digests[at.id] == "" {
			h := sha256.New()
			if err := r.download(ctx, at, h); err != nil {
				return false, err
			}
			r.digests[at.id] = digestOf(h)
		}
		return r.digests[at.id] == want.Digest, nil
	}
	return at.digest == want.Digest, nil
}

func digestOf(h hash.Hash) string { return fmt.Sprintf("sha256:%x", h.Sum(nil)) }

// download reads an asset back.
func (r *run) download(ctx context.Context, at *remote, to io.Writer) error {
	what := "reading " + at.name + " back from " + r.where()
	body, _, err := r.c.gh.Repositories.DownloadReleaseAsset(ctx, r.c.owner, r.c.repo, at.id, r.c.plain)
	if err == nil {
		defer body.Close()
		var n int64
		if n, err = io.Copy(to, io.LimitReader(body, at.size+1)); err == nil && n != at.size {
			err = fmt.Errorf("got %d bytes of %d", n, at.size)
		}
	}
	if isStatus(err, http.StatusNotFound) {
		return &again{err: &Error{Reason: Clashes, What: what, Why: "it is gone", Status: http.StatusNotFound, Err: err}}
	}
	return r.judge(ctx, what, err)
}

// place is what stands for one wanted asset on a release.
type place struct {
	now   *remote   // has the name
	fresh *remote   // a replacement with the wanted bytes, under its own name
	old   []*remote // had the name: a replacement ended half way; the newest first
	rest  []*remote // other remains of replacements
}

// places sorts what is on a release.
func (r *run) places(ctx context.Context, list map[string]*remote) (map[string]*place, error) {
	all := map[string]*place{}
	for _, want := range r.assets {
		all[want.Name] = &place{now: list[want.Name]}
	}
	for _, name := range sortedNames(list) {
		at := list[name]
		base, mark := at.of()
		switch p := all[base]; {
		case p == nil:
		case mark == oldMark:
			p.old = append(p.old, at)
		case mark == freshMark:
			p.rest = append(p.rest, at)
		}
	}
	for _, want := range r.assets {
		p := all[want.Name]
		slices.SortFunc(p.old, func(a, b *remote) int { return cmp.Compare(b.id, a.id) })
		for i, at := range p.rest {
			same, err := r.same(ctx, want, at)
			if err != nil {
				return nil, err
			}
			if same && at.name == freshName(want) {
				p.fresh, p.rest = at, slices.Delete(p.rest, i, i+1)
				break
			}
		}
	}
	return all, nil
}

func sortedNames(list map[string]*remote) []string {
	var names []string
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// survey reads what is there and finds, before anything is written, what stands in the
// way: assets that may not be replaced, too many of them, lines of SHA256SUMS about
// files that are neither wanted nor there.
func (r *run) survey(ctx context.Context, rel *github.RepositoryRelease) (map[string]*place, error) {
	list, err := r.list(ctx, rel.ID)
	if err != nil {
		return nil, err
	}
	places, err := r.places(ctx, list)
	if err != nil {
		return nil, err
	}
	var clashes, missing []string
	more, spare := 0, 0
	for _, want := range r.assets {
		now := places[want.Name].now
		if now == nil && len(places[want.Name].old) > 0 && !r.replaces(rel.Draft) {
			now = places[want.Name].old[0] // it gets its name back
		}
		same, err := r.same(ctx, want, now)
		if err != nil {
			return nil, err
		}
		switch {
		case same:
			continue
		case now == nil:
			more++
		case now.whole():
			spare = 1 // for a moment, each replacement is one asset more
			clashes = append(clashes, fmt.Sprintf("%s has %s (here %s)", want.Name, r.describe(now, want), want.Digest))
		}
		missing = append(missing, want.Name)
	}
	what := "uploading to " + r.where()
	switch {
	case len(missing) > 0 && rel.GetImmutable():
		return nil, &Error{
			Reason: Immutable, What: what, Why: fmt.Sprintf("the release is immutable and does not have, or has with other bytes: %s", some(missing)),
			Do: "use a new tag: this release and its tag cannot be changed any more",
		}
	case len(missing) > 0 && !rel.Draft && r.o.Draft:
		return nil, &Error{Reason: Invalid, What: what, Why: "it is published, and a draft was asked for", Do: "leave the draft option out to add to what is published"}
	case len(clashes) > 0 && !r.replaces(rel.Draft):
		do := "have them replaced (--clash replace), or use a new tag"
		return nil, &Error{Reason: Clashes, What: what, Why: "other bytes are there: " + some(clashes), Do: do}
	case len(list)+more+spare > MaxAssets:
		return nil, &Error{
			Reason: Invalid, What: what, Why: fmt.Sprintf("%d assets are there, and %d more are to come: GitHub takes %d", len(list), more+spare, MaxAssets),
			Do: "delete some, or use another tag for a part",
		}
	}
	return places, r.sumsFit(list)
}

// describe tells another asset's bytes.
func (r *run) describe(at *remote, want Asset) string {
	if d := cmp.Or(at.digest, r.digests[at.id]); d != "" {
		return d
	}
	return fmt.Sprintf("%d bytes (here %d)", at.size, want.Size)
}

// some shows the first few of a list.
func some(all []string) string {
	const most = 5
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

// settle makes sure that every wanted asset is on the release, and looks again.
func (r *run) settle(ctx context.Context, rel *github.RepositoryRelease) error {
	places, err := r.survey(ctx, rel)
	if err != nil {
		return err
	}
	if !rel.GetImmutable() {
		for i, want := range r.assets {
			if err := r.put(ctx, rel, want, places[want.Name], i); err != nil {
				return err
			}
		}
	}
	list, err := r.list(ctx, rel.ID)
	if err != nil {
		return err
	}
	for _, want := range r.assets {
		same, err := r.same(ctx, want, list[want.Name])
		if err != nil {
			return err
		}
		if !same {
			return &again{err: &Error{Reason: Unavailable, What: "verifying " + r.where(), Why: want.Name + " is not there with the bytes that were uploaded"}}
		}
	}
	return r.verifySums(ctx, list)
}

// put makes sure that one wanted asset is there, and that nothing is left of how it
// came there.
func (r *run) put(ctx context.Context, rel *github.RepositoryRelease, want Asset, at *place, number int) error {
	if at.now != nil && !at.now.whole() {
		if err := r.clear(ctx, want, at.now); err != nil {
			return err
		}
		at.now = nil
	}
	if at.now == nil && len(at.old) > 0 && (at.fresh == nil || !r.replaces(rel.Draft)) {
		if err := r.rename(ctx, at.old[0], want.Name); err != nil {
			return err
		}
		at.now, at.old = at.old[0], at.old[1:]
	}
	same, err := r.same(ctx, want, at.now)
	if err != nil {
		return err
	}
	switch {
	case same:
	case at.now != nil:
		if err := r.replace(ctx, rel, want, at, number); err != nil {
			return err
		}
	case at.fresh != nil: // a replacement whose last step is missing
		if err := r.rename(ctx, at.fresh, want.Name); err != nil {
			return err
		}
		at.fresh = nil
		r.did[want.Name] = Replaced
	default:
		r.did[want.Name] = Uploaded
		if _, err := r.upload(ctx, rel, want, want.Name, number); err != nil {
			return err
		}
	}
	r.score++
	remains := slices.Concat(at.old, at.rest)
	if at.fresh != nil {
		remains = append(remains, at.fresh)
	}
	for _, left := range remains {
		if err := r.clear(ctx, want, left); err != nil {
			return err
		}
	}
	return nil
}

// replace puts other bytes under a name. The old ones stay until the new ones have it.
func (r *run) replace(ctx context.Context, rel *github.RepositoryRelease, want Asset, at *place, number int) error {
	r.did[want.Name] = Replaced
	if at.fresh == nil {
		// What is left of an earlier try would be in the way.
		for i, left := range at.rest {
			if left.name == freshName(want) {
				if err := r.clear(ctx, want, left); err != nil {
					return err
				}
				at.rest = slices.Delete(at.rest, i, i+1)
				break
			}
		}
		fresh, err := r.upload(ctx, rel, want, freshName(want), number)
		if err != nil {
			return err
		}
		at.fresh = fresh
	}
	if err := r.exchange(ctx, want, at); err != nil {
		return err
	}
	at.now.name = oldName(want.Name, at.now.id)
	at.old = append(at.old, at.now)
	at.now, at.fresh = at.fresh, nil
	return nil
}

// exchange gives the name to the new asset. GitHub cannot do that in one step, so the
// name is missing between two requests; nothing but the end of the process or of the
// connection makes that time longer.
func (r *run) exchange(ctx context.Context, want Asset, at *place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	rename := func(at *remote, name string) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ExchangeTime)
		defer cancel()
		err := r.rename(ctx, at, name)
		if errors.Is(err, context.DeadlineExceeded) {
			return &again{err: &Error{Reason: Unavailable, What: "renaming " + at.name, Why: fmt.Sprintf("no answer within %v", ExchangeTime), Err: err}}
		}
		return err
	}
	err := rename(at.now, oldName(want.Name, at.now.id))
	if err == nil {
		err = rename(at.fresh, want.Name)
	}
	if err != nil {
		// Whether the first step was done is not known when its answer was lost.
		// If the second one was, the name is taken and this changes nothing.
		_ = rename(at.now, want.Name)
	}
	return err
}

// clear removes what is left of an upload that did not end, or of a replacement. An
// upload may still be under way in another run, so a young one of another is given
// time. And what was listed may be old: another run may have completed the upload, or
// given the asset its name, since then.
func (r *run) clear(ctx context.Context, want Asset, left *remote) error {
	now := time.Unix(r.c.date.Load(), 0)
	age := starterAge + time.Duration(want.Size/slowLine)*time.Second
	if more := age - now.Sub(left.created); !left.whole() && !r.unsure[left.name] && more > 0 {
		return &again{
			err:  &Error{Reason: Unavailable, What: "uploading " + left.name + " to " + r.where(), Why: "another upload of it seems to be under way"},
			wait: min(starterWait, more), others: true,
		}
	}
	what := "removing " + left.name + " from " + r.where()
	asset, _, err := r.c.gh.Repositories.GetReleaseAsset(ctx, r.c.owner, r.c.repo, left.id)
	switch {
	case isStatus(err, http.StatusNotFound):
	case err != nil:
		return r.judge(ctx, what, err)
	case asset.GetName() != left.name || asset.GetState() != left.state:
		return &again{err: &Error{Reason: Clashes, What: what, Why: "another run has changed it"}}
	default:
		if err := r.remove(ctx, left); err != nil {
			return err
		}
	}
	delete(r.unsure, left.name)
	return nil
}

func (r *run) remove(ctx context.Context, at *remote) error {
	_, err := r.c.gh.Repositories.DeleteReleaseAsset(ctx, r.c.owner, r.c.repo, at.id)
	r.wrote = true
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	if err == nil {
		r.c.tell(Detail, "removed %s", at.name)
	}
	return r.judge(ctx, "removing "+at.name+" from "+r.where(), err)
}

func (r *run) rename(ctx context.Context, at *remote, name string) error {
	what := fmt.Sprintf("renaming %s to %s on %s", at.name, name, r.where())
	now, _, err := r.c.gh.Repositories.UpdateReleaseAsset(ctx, r.c.owner, r.c.repo, at.id, github.UpdateReleaseAssetRequest{Name: &name})
	r.wrote = true
	if isStatus(err, http.StatusNotFound) {
		return &again{err: &Error{Reason: Clashes, What: what, Why: "it is gone", Status: http.StatusNotFound, Err: err}}
	}
	if err == nil && now.GetName() != name {
		return &again{err: &Error{Reason: Rejected, What: what, Why: fmt.Sprintf("GitHub named it %q", now.GetName())}}
	}
	return r.judge(ctx, what, err)
}

// upload sends one file, and verifies what GitHub then has.
func (r *run) upload(ctx context.Context, rel *github.RepositoryRelease, want Asset, name string, number int) (*remote, error) {
	what := "uploading " + want.Name + " to " + r.where()
	if err := r.checkUploadURL(rel.UploadURL); err != nil {
		return nil, &Error{Reason: Rejected, What: what, Why: err.Error()}
	}
	file, err := want.Open()
	if err != nil {
		return nil, &Error{Reason: Changed, What: what, Why: err.Error(), Err: err}
	}
	defer file.Close()
	r.c.tell(Stage, "uploading %s (%d of %d)", want.Name, number+1, len(r.assets))
	body := &sent{r: r, from: file, hash: sha256.New(), total: want.Size}
	r.wrote = true
	answer, _, err := r.c.gh.Repositories.UploadReleaseAssetFromRelease(ctx, rel, &github.UploadOptions{Name: name, MediaType: cmp.Or(want.MediaType, "application/octet-stream")}, body, want.Size)
	if err := body.changed(want, err == nil); err != nil {
		if answer != nil {
			_ = r.remove(ctx, remoteOf(answer))
		}
		return nil, &Error{Reason: Changed, What: what, Why: err.Error(), Do: "run the same again when nothing writes to it"}
	}
	if err != nil {
		if a, answered := answerOf(err); !answered || a.status >= 500 {
			r.unsure[name] = true // the asset may be there, empty or whole
		}
		return nil, r.uploadFailed(ctx, what, err)
	}
	got := remoteOf(answer)
	same, err := r.same(ctx, want, got)
	if err != nil {
		return nil, err
	}
	if !same || got.name != name {
		if err := r.remove(ctx, got); err != nil {
			return nil, err
		}
		why := fmt.Sprintf("GitHub has %d bytes with %s of it", got.size, cmp.Or(got.digest, "no digest"))
		if got.name != name {
			why = fmt.Sprintf("GitHub named it %q", got.name)
		}
		return nil, &again{err: &Error{Reason: Unavailable, What: what, Why: why}}
	}
	return got, nil
}

// uploadFailed judges a failed upload: some refusals mean that the release has changed
// under it, which the next look at it tells.
func (r *run) uploadFailed(ctx context.Context, what string, err error) error {
	if isStatus(err, http.StatusNotFound) {
		return r.gone(what, err)
	}
	if a, ok := answerOf(err); ok && a.status == http.StatusUnprocessableEntity && a.says("immutable") {
		return &again{err: &Error{Reason: Immutable, What: what, Why: a.text(), Do: "use a new tag", Status: a.status, Err: err}}
	}
	return r.judge(ctx, what, err)
}

// checkUploadURL makes sure that the token goes nowhere without TLS, whatever the API
// says.
func (r *run) checkUploadURL(template string) error {
	base, _, _ := strings.Cut(template, "{")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || !safe(u) || u.Scheme != "https" && r.c.api.Scheme == "https" {
		return fmt.Errorf("GitHub names %.100q as the URL for uploads: want an https URL", base)
	}
	return nil
}

// sent is a file on its way. It hashes what it hands out.
type sent struct {
	r           *run
	from        io.Reader
	hash        hash.Hash
	done, total int64
	err         error // of the file
}

func (s *sent) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.hash.Write(p[:n])
	s.done += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	if s.r.c.report != nil && n > 0 {
		s.r.c.report(Event{Kind: Progress, Done: s.done, Total: s.total})
	}
	return n, err
}

// changed tells how the file was not what was said of it. That it is too short is seen
// when its end was read; its digest when all was sent.
func (s *sent) changed(want Asset, all bool) error {
	switch {
	case s.err != nil:
		return fmt.Errorf("reading the file: %w", s.err)
	case s.done > s.total || all && (s.done != s.total || digestOf(s.hash) != want.Digest):
		return fmt.Errorf("the file changed: it had %d bytes with %s", want.Size, want.Digest)
	}
	return nil
}

// plan tells what a run would do, without writing.
func (r *run) plan(ctx context.Context, rel *github.RepositoryRelease) (*Result, error) {
	result := &Result{Tag: r.tag, Draft: r.o.Draft, Created: rel == nil}
	places := map[string]*place{}
	if rel != nil {
		var err error
		if places, err = r.survey(ctx, rel); err != nil {
			return nil, err
		}
		result.ID, result.URL, result.Immutable = rel.ID, rel.HTMLURL, rel.GetImmutable()
		result.Draft = rel.Draft && r.o.Draft
	} else if err := r.sumsFit(nil); err != nil {
		return nil, err
	}
	for _, want := range r.assets {
		p := Published{Name: want.Name, Size: want.Size, Digest: want.Digest, Done: Uploaded}
		if at := places[want.Name]; at != nil && at.now != nil && at.now.whole() {
			same, err := r.same(ctx, want, at.now)
			if err != nil {
				return nil, err
			}
			p.Done = Replaced
			if same {
				p.Done, p.ID, p.URL = Skipped, at.now.id, at.now.url
			}
		}
		result.Assets = append(result.Assets, p)
	}
	return result, nil
}
