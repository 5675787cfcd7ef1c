package verify

import (
	"errors"
	"fmt"
	"strings"
)

// A Kind is the kind of a problem. The words are a promise: there may be more of
// them, but they do not change.
type Kind string

// Kinds of problems.
const (
	Format        Kind = "format"        // it is no bundle that can be used
	Subject       Kind = "subject"       // it is about other files
	Signature     Kind = "signature"     // payload or signature was changed
	Certificate   Kind = "certificate"   // the certificate was changed
	UnknownCA     Kind = "unknown-ca"    // no trusted root has its issuer
	Expired       Kind = "expired"       // certificate or root were not valid when it was signed
	SCT           Kind = "sct"           // the certificate is not in a CT log as it has to be
	Log           Kind = "log"           // no transparency log has it as it has to be
	Timestamp     Kind = "timestamp"     // nobody trusted tells when it was signed
	Issuer        Kind = "issuer"        // the token was another issuer's
	Identity      Kind = "identity"      // somebody else signed, or signed something else
	Workflow      Kind = "workflow"      // another workflow signed
	Key           Kind = "key"           // another key signed
	Contradiction Kind = "contradiction" // the predicate says other things than the certificate
	Predicate     Kind = "predicate"     // the predicate cannot be used
	Missing       Kind = "missing"       // nothing verified that says how the file was built
)

// A Problem is why a bundle counts for nothing, or the whole fails.
type Problem struct {
	Kind    Kind
	Bundle  string // its source; "" if the problem is none of a single bundle
	Message string
}

func problem(kind Kind, format string, args ...any) *Problem {
	return &Problem{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func (p *Problem) Error() string {
	if p.Bundle == "" {
		return p.Message
	}
	return p.Bundle + ": " + p.Message
}

// of sets the bundle that the problem is about.
func (p *Problem) of(source string) *Problem {
	p.Bundle = source
	return p
}

// ErrNothing is the error of a file for which there is no bundle at all.
var ErrNothing = errors.New("nothing to verify it with")

// An Error tells why a file did not verify.
type Error struct {
	Name     string
	Digest   string // sha256 in hex
	Problems []*Problem
}

func (e *Error) Error() string {
	var reasons []string
	for _, p := range e.Problems {
		reasons = append(reasons, p.Error())
	}
	return fmt.Sprintf("verifying %s: %s", e.Name, strings.Join(reasons, "; "))
}
