package verifytarget

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/attest/verify"
)

// A Report is what was found out about a target.
type Report struct {
	*Found
	Verified []bool            // for each file, whether it is a subject of what was signed
	Bundles  []verify.Verified // of all files, each once
	Nothing  bool              // there was no bundle; nothing is verified
	// Problems are why the target does not verify; those of Found are among them.
	Problems []*verify.Problem
	// Ignored are why bundles that name a file count for nothing, which does no harm.
	Ignored []*verify.Problem
}

// OK tells whether the target verified.
func (r *Report) OK() bool { return !r.Nothing && len(r.Problems) == 0 }

// Check verifies what was found. An error is one of the policy or of the context.
func Check(ctx context.Context, found *Found, p verify.Policy) (*Report, error) {
	r := &Report{Found: found, Verified: make([]bool, len(found.Files)), Problems: found.Problems}
	if len(found.Bundles) == 0 {
		r.Nothing = true
		return r, p.Check()
	}
	about := byDigest(found.Bundles)
	for i, file := range found.Files {
		if !file.Required {
			continue
		}
		ok, err := r.file(ctx, file, about.of(file.SHA256), p)
		if err != nil {
			return nil, err
		}
		r.Verified[i] = ok
	}
	for i, file := range found.Files {
		if file.Required {
			continue
		}
		if r.Verified[i] = r.covers(file); !r.Verified[i] {
			r.uncovered(file)
		}
	}
	return r, nil
}

// covers tells whether a file is a subject of what was signed.
func (r *Report) covers(f File) bool {
	for _, b := range r.Bundles {
		for _, s := range b.Statement.Subject {
			if s.SHA256() == f.SHA256 {
				return true
			}
		}
	}
	return false
}

// file verifies one file.
func (r *Report) file(ctx context.Context, f File, bundles []verify.Bundle, p verify.Policy) (ok bool, err error) {
	result, err := verify.Digest(ctx, f.SHA256, f.Name, bundles, p)
	var refused *verify.Error
	switch {
	case errors.As(err, &refused):
		for _, p := range refused.Problems {
			r.Problems = add(r.Problems, p)
		}
		return false, nil
	case err != nil:
		return false, err
	}
	for _, b := range result.Bundles {
		if !slices.ContainsFunc(r.Bundles, func(x verify.Verified) bool { return x.Source == b.Source }) {
			r.Bundles = append(r.Bundles, b)
		}
	}
	for _, p := range result.Problems {
		r.Ignored = add(r.Ignored, p)
	}
	return true, nil
}

// uncovered says of a file that does not have to be verified whether it was
// changed, or just never signed.
func (r *Report) uncovered(f File) {
	if len(r.Bundles) == 0 {
		return // nothing verified; there are reasons enough
	}
	for _, b := range r.Bundles {
		for _, s := range b.Statement.Subject {
			if f.several && s.Name == f.Name && ownSums(b.Statement.Subject, s) {
				continue // of one plugin, before the others were added
			}
			if s.Name == f.Name || f.Role == Manifest && s.Name == manifestName {
				r.Problems = add(r.Problems, &verify.Problem{
					Kind: Changed, Message: fmt.Sprintf("%s (sha256:%s) is not the one that was signed (sha256:%s)", f.Name, f.SHA256, s.SHA256()),
				})
				return
			}
		}
	}
	r.Notes = append(r.Notes, f.Name+" is not among the files that were signed")
}

// ownSums tells whether checksums that were signed are those of the other files that
// were signed with them.
func ownSums(subjects []statement.Subject, sums statement.Subject) bool {
	var others []statement.Subject
	for _, s := range subjects {
		if s.Name != sums.Name {
			others = append(others, s)
		}
	}
	return fmt.Sprintf("%x", sha256.Sum256(statement.Sums(others))) == sums.SHA256()
}

// An index tells which bundles to look at for a file. What it says is not verified.
type index struct {
	all, bad []verify.Bundle            // bad cannot be read
	named    map[string][]verify.Bundle // by the sha256 of a subject
}

func byDigest(bundles []verify.Bundle) index {
	x := index{all: bundles, named: map[string][]verify.Bundle{}}
	for _, b := range bundles {
		subjects := verify.Subjects(b)
		if len(subjects) == 0 {
			x.bad = append(x.bad, b)
		}
		seen := map[string]bool{}
		for _, s := range subjects {
			if !seen[s.SHA256()] {
				x.named[s.SHA256()] = append(x.named[s.SHA256()], b)
			}
			seen[s.SHA256()] = true
		}
	}
	return x
}

// of are the bundles that name a file, and those that cannot be read; all if none names
// it, to say so of each.
func (x index) of(digest string) []verify.Bundle {
	if len(x.named[digest]) == 0 {
		return x.all
	}
	return append(slices.Clone(x.named[digest]), x.bad...)
}

// add adds a problem that is not there yet: one bundle is judged for several
// files.
func add(list []*verify.Problem, p *verify.Problem) []*verify.Problem {
	for _, x := range list {
		if *x == *p {
			return list
		}
	}
	return append(list, p)
}
