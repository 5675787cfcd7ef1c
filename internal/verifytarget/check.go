package verifytarget

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	for i, file := range found.Files {
		if !file.Required {
			continue
		}
		ok, err := r.file(ctx, file, p)
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
func (r *Report) file(ctx context.Context, f File, p verify.Policy) (ok bool, err error) {
	result, err := verify.Digest(ctx, f.SHA256, f.Name, r.Found.Bundles, p)
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
			if s.Name == f.Name {
				r.Problems = add(r.Problems, &verify.Problem{
					Kind: Changed, Message: fmt.Sprintf("%s (sha256:%s) is not the one that was signed (sha256:%s)", f.Name, f.SHA256, s.SHA256()),
				})
				return
			}
		}
	}
	r.Notes = append(r.Notes, f.Name+" is not among the files that were signed")
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
