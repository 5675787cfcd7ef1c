package verify

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/volant/fledge-action/attest/statement"
)

// A Result is what has been verified about a file.
type Result struct {
	Bundles  []Verified // in the order in which they were given
	Problems []*Problem // of bundles that name the file but count for nothing
	Others   int        // bundles about other files
}

// Verified is a bundle that has been verified, by a signer whom the policy accepts.
type Verified struct {
	Source     string
	Statement  *statement.Statement
	Subject    statement.Subject // the file; its name is the one that it had when it was signed
	Signer     Signer
	Timestamps []Time            // when it was signed; none with a key alone
	Root       string            // name of the trusted root; "" with a key
	Record     *statement.Record // of a build record, else nil
}

// A Time is when something was signed, according to somebody who is trusted.
type Time struct {
	Source string // "transparency log" or "timestamp authority"
	URI    string // its address
	Time   time.Time
}

// maxOthers is how many bundles about other files an error names.
const maxOthers = 5

// Digest verifies a file, known by its sha256 in lower-case hex. The name is for
// messages. The error is ErrNothing without bundles and an [*Error] if the file did
// not verify; the policy's mistakes are its own, see [Policy.Check].
func Digest(ctx context.Context, digest, name string, bundles []Bundle, p Policy) (*Result, error) {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("verifying %s: %q is no sha256 in hex", name, digest)
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	if len(bundles) == 0 {
		return nil, fmt.Errorf("verifying %s: %w", name, ErrNothing)
	}
	keys, err := parseKeys(p.Keys)
	if err != nil {
		return nil, err
	}
	j := &judge{Policy: p, keys: keys, name: name, hex: digest, digest: raw}
	for _, b := range bundles {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		j.bundle(b)
	}
	return j.verdict()
}

// A judge verifies bundles for one file.
type judge struct {
	Policy
	keys   []key
	name   string
	hex    string
	digest []byte

	result Result
	grave  []*Problem // that only the signer can have caused
	others []*Problem // the first bundles about other files
}

// bundle judges one bundle.
func (j *judge) bundle(b Bundle) {
	o, err := open(b)
	if err != nil {
		j.note(problem(Format, "%v", err).of(b.Source))
		return
	}
	subject := o.subject(j.hex)
	if subject == nil {
		j.other(o)
		return
	}
	v := Verified{Source: o.source, Statement: o.statement, Subject: *subject}
	if reason := j.signed(o, &v); reason != nil {
		j.note(reason.of(o.source))
		return
	}
	grave, err := checkPredicate(&v)
	if err != nil {
		j.note(problem(Predicate, "%v", err).of(o.source))
		return
	}
	for _, g := range grave {
		j.grave = append(j.grave, problem(Contradiction, "%s", g).of(o.source))
	}
	if len(grave) == 0 {
		j.result.Bundles = append(j.result.Bundles, v)
	}
}

func (j *judge) note(p *Problem) { j.result.Problems = append(j.result.Problems, p) }

func (j *judge) other(o *opened) {
	j.result.Others++
	if len(j.others) < maxOthers {
		reason := problem(Subject, "%s (sha256:%s) is not one of the %d subjects of %s", j.name, j.hex, len(o.statement.Subject), o.source)
		j.others = append(j.others, reason)
	}
}

// signed verifies the cryptography and the signer, and fills v.
func (j *judge) signed(o *opened, v *Verified) *Problem {
	if o.cert == nil {
		return j.byKey(o, v)
	}
	signer, err := certificateSigner(o.cert)
	if err != nil {
		return problem(Certificate, "%v", err)
	}
	if !j.certificates() {
		return problem(Key, "says it was signed by %s with a certificate, expected one of the %d keys given", signer, len(j.keys))
	}
	v.Signer = signer
	if reason := j.byCertificate(o, v); reason != nil {
		return reason
	}
	return j.admit(signer)
}

// verdict sums up.
func (j *judge) verdict() (*Result, error) {
	problems := j.grave
	var found []string
	for _, v := range j.result.Bundles {
		found = append(found, v.Statement.PredicateType)
	}
	if missing := j.required(found); missing != "" {
		problems = append(problems, j.result.Problems...)
		switch {
		case len(found) > 0:
			problems = append(problems, problem(Missing, "no statement that verified is %s; those that did are of type %s", missing, joinUnique(found)))
		case !anyButFormat(problems):
			problems = append(problems, j.others...)
		}
	}
	if len(problems) > 0 {
		return nil, &Error{Name: j.name, Digest: j.hex, Problems: problems}
	}
	return &j.result, nil
}

// anyButFormat tells whether a bundle named the file.
func anyButFormat(problems []*Problem) bool {
	for _, p := range problems {
		if p.Kind != Format {
			return true
		}
	}
	return false
}

// joinUnique lists texts without repeating one.
func joinUnique(texts []string) string {
	seen := map[string]bool{}
	list := ""
	for _, t := range texts {
		if seen[t] {
			continue
		}
		if seen[t] = true; list != "" {
			list += ", "
		}
		list += fmt.Sprintf("%.200q", t)
	}
	return list
}
