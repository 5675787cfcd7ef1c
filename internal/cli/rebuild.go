package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/rebuild"
	"github.com/volant/fledge-action/internal/verifytarget"
)

// kindRebuild is the kind of a problem that only building again has shown.
const kindRebuild verify.Kind = "rebuild"

// rebuilt is an artifact that was built again.
type rebuilt struct {
	Folder string `json:"folder"`
	Name   string `json:"name"`
	Digest string `json:"digest"` // of what was built
	Same   bool   `json:"same"`

	// Of what has other bytes in each build: what the artifact holds, and whether what was built
	// holds the same.
	ContentDigest string `json:"content_digest,omitempty"`
	SameContent   bool   `json:"same_content,omitempty"`
	format        string
}

// rebuild builds the artifacts of a target again, if they have verified, and adds what
// differs to the report's problems.
func (p *Program) rebuild(ctx context.Context, f verifyFlags, r *verifytarget.Report) ([]rebuilt, error) {
	var all []rebuilt
	for _, file := range r.Files {
		if !r.OK() || file.Role != verifytarget.Artifact {
			continue
		}
		x, err := p.rebuildOne(ctx, f, r, file)
		if err != nil {
			return nil, fmt.Errorf("building %s again: %w", file.Name, err)
		}
		if x != nil {
			all = append(all, *x)
		}
	}
	return all, nil
}

// recordFor is the build record of a file, nil if none was verified.
func recordFor(r *verifytarget.Report, file verifytarget.File) *statement.Record {
	for _, b := range r.Bundles {
		for _, s := range b.Statement.Subject {
			if b.Record != nil && s.SHA256() == file.SHA256 {
				return b.Record
			}
		}
	}
	return nil
}

func (p *Program) rebuildOne(ctx context.Context, f verifyFlags, r *verifytarget.Report, file verifytarget.File) (*rebuilt, error) {
	fail := func(format string, args ...any) {
		r.Problems = append(r.Problems, &verify.Problem{Kind: kindRebuild, Message: fmt.Sprintf(format, args...)})
	}
	rec := recordFor(r, file)
	if rec == nil {
		fail("%s has no build record that verified, so nothing tells how to build it again", file.Name)
		return nil, nil
	}
	request, err := rebuild.Request(rec, f.rebuild)
	var changed *rebuild.ChangedError
	if errors.As(err, &changed) {
		fail("%v", changed)
		return nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("%w; name the folder of the project with --rebuild", err)}
	}
	if err != nil {
		return nil, err
	}
	if rec.Fledge.Version != p.Version {
		r.Notes = append(r.Notes, fmt.Sprintf("%s was built by fledge %s and is built again by %s, which may write other bytes", file.Name, rec.Fledge.Version, p.Version))
	}
	dir, err := os.MkdirTemp(p.Getenv("TMPDIR"), "fledge-rebuild-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	result, err := p.buildAgain(ctx, f, request, filepath.Join(dir, file.Name))
	if err != nil {
		return nil, err
	}
	x := &rebuilt{Folder: f.rebuild, Name: file.Name, Digest: result.Artifact.Digest, Same: result.Artifact.Digest == "sha256:"+file.SHA256}
	if x.Same {
		return x, nil
	}
	original := file.Path
	if original == "" {
		original = filepath.Join(dir, "published")
		if err := fetchTo(ctx, r, file, original); err != nil {
			return nil, err
		}
	}
	if !result.Reproducible {
		if err := x.compareContent(ctx, original, rec, result, fail); err != nil || x.SameContent {
			return x, err
		}
	} else {
		fail("%s has sha256:%s, and built again from %s it has %s", file.Name, file.SHA256, f.rebuild, x.Digest)
	}
	for _, d := range rebuild.Differences(rec, result) {
		fail("%s", d)
	}
	p.showDifference(ctx, original, result.Artifact.Path)
	return x, nil
}

// compareContent compares what two artifacts hold whose bytes cannot be the same. What the
// published one holds is read from it, and not only from its record.
func (x *rebuilt) compareContent(ctx context.Context, original string, rec *statement.Record, result *build.Result, fail func(format string, args ...any)) error {
	f, size, err := openFile(original)
	if err != nil {
		return err
	}
	defer f.Close()
	x.format = result.Artifact.Format
	if x.ContentDigest, err = contentDigest(ctx, f, size); err != nil {
		return fmt.Errorf("reading what %s holds: %w", shown(x.Name), err)
	}
	x.SameContent = x.ContentDigest == result.ContentDigest
	if !x.SameContent {
		fail("%s holds %s, and built again from %s it holds %s (content digests: the bytes of %s are others in each build)", x.Name, x.ContentDigest, x.Folder, result.ContentDigest, x.format)
	}
	if rec.ContentDigest != "" && rec.ContentDigest != x.ContentDigest {
		fail("%s holds %s, and its build record says %s (content digests)", x.Name, x.ContentDigest, rec.ContentDigest)
		x.SameContent = false
	}
	return nil
}

func (p *Program) buildAgain(ctx context.Context, f verifyFlags, request build.Request, output string) (*build.Result, error) {
	report := p.reporter(false, f.quiet)
	full := p.request(request.Config, buildFlags{cacheDir: f.cacheDir}, report)
	defer full.Cache.Close()
	full.Template, full.Output, full.URL, full.Epoch = request.Template, output, request.URL, request.Epoch
	full.Version = request.Version
	full.Lock, full.Locked, full.AllowUnbootable = request.Lock, request.Locked, request.AllowUnbootable
	var err error
	if full.Mounter, err = p.mounter(ctx, full.Config, output, report); err != nil {
		return nil, err
	}
	result, err := build.Build(ctx, full)
	report.end(err == nil)
	return result, err
}

// showDifference shows how the artifact and what was built again differ, on standard error.
func (p *Program) showDifference(ctx context.Context, original, again string) {
	if err := printDifferences(ctx, p.Stderr, original, again, diffFlags{}); err != nil && !errors.Is(err, errDiffer) {
		p.warn(fmt.Errorf("comparing artifacts: %w", err))
	}
}

func fetchTo(ctx context.Context, r *verifytarget.Report, file verifytarget.File, path string) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(r.Copy(ctx, file, out), out.Close())
}

// rebuiltText is what is printed of artifacts that were built again.
func rebuiltText(all []rebuilt) string {
	var same, others []string
	for _, x := range all {
		if x.Same {
			same = append(same, shown(x.Name))
		} else {
			others = append(others, fmt.Sprintf("%s from %s: other bytes, as they must be of %s, and the same content (%s)", shown(x.Name), shown(x.Folder), x.format, x.ContentDigest))
		}
	}
	if len(same) > 0 {
		others = append([]string{fmt.Sprintf("%s from %s: the same bytes", strings.Join(same, ", "), shown(all[0].Folder))}, others...)
	}
	return strings.Join(others, "; ")
}
