package sbom

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp/spdxlicenses"
)

const (
	maxLicence      = 4 << 10 // bytes of what a database declares
	maxLicenceDepth = 50      // parentheses in one another
)

// A Licence is what a database declares of one package. The zero value is nothing.
type Licence struct {
	// Expression is a valid SPDX licence expression, "" when there is none. Names have
	// the case of the SPDX list.
	Expression string
	// Text is what was declared when that is no such expression, else "".
	Text string
	refs []string // LicenseRefs in Expression, sorted
}

// parseLicence reads what a database declares.
func parseLicence(text string) Licence {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxLicence || text == "NOASSERTION" {
		return Licence{}
	}
	p := expression{words: words(text)}
	if p.or(0) && len(p.words) == 0 {
		slices.Sort(p.refs)
		return Licence{Expression: strings.TrimSpace(p.out.String()), refs: slices.Compact(p.refs)}
	}
	return Licence{Text: text}
}

// declared is the expression for licenseDeclared, with the references that it uses.
func (l Licence) declared() (expression string, refs []string) {
	switch {
	case l.Expression != "":
		return l.Expression, l.refs
	case l.Text != "":
		ref := licenceRef(l.Text)
		return ref, []string{ref}
	}
	return noAssertion, nil
}

// licenceRef names a text that is no expression.
func licenceRef(text string) string {
	return fmt.Sprintf("LicenseRef-declared-%x", sha256.Sum256([]byte(text)))[:len("LicenseRef-declared-")+16]
}

// words cuts an expression into parentheses and what is between them and spaces.
func words(text string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text))
}

// expression is a licence expression on its way through the grammar of SPDX 2.3,
// annex D. Each method consumes words and says whether they fitted.
type expression struct {
	words []string
	out   strings.Builder
	refs  []string
}

func (e *expression) take(word string) bool {
	if len(e.words) == 0 || e.words[0] != word {
		return false
	}
	e.words = e.words[1:]
	return true
}

func (e *expression) or(depth int) bool  { return e.chain(" OR ", depth, e.and) }
func (e *expression) and(depth int) bool { return e.chain(" AND ", depth, e.with) }

// chain is one or more parts with an operator between them.
func (e *expression) chain(operator string, depth int, part func(int) bool) bool {
	for {
		if !part(depth) {
			return false
		}
		if !e.take(strings.TrimSpace(operator)) {
			return true
		}
		e.out.WriteString(operator)
	}
}

// with is a licence with or without an exception, or something in parentheses.
func (e *expression) with(depth int) bool {
	if e.take("(") {
		e.out.WriteByte('(')
		if depth == maxLicenceDepth || !e.or(depth+1) || !e.take(")") {
			return false
		}
		e.out.WriteByte(')')
		return true
	}
	if !e.name(licenceName) {
		return false
	}
	if !e.take("WITH") {
		return true
	}
	e.out.WriteString(" WITH ")
	return e.name(spdxException)
}

func (e *expression) name(find func(string) (string, bool)) bool {
	if len(e.words) == 0 {
		return false
	}
	name, ok := find(e.words[0])
	e.words = e.words[1:]
	e.out.WriteString(name)
	if strings.HasPrefix(name, "LicenseRef-") {
		e.refs = append(e.refs, name)
	}
	return ok
}

// licenceName finds a licence of the SPDX list, or takes a reference.
func licenceName(word string) (string, bool) {
	if rest, ok := strings.CutPrefix(word, "LicenseRef-"); ok {
		return word, rest != "" && idString(rest) == rest
	}
	name, plus := strings.CutSuffix(word, "+")
	for _, find := range []func(string) (bool, string){spdxlicenses.IsActiveLicense, spdxlicenses.IsDeprecatedLicense} {
		if ok, id := find(word); ok {
			return id, true // some have the plus in their name
		}
		if ok, id := find(name); ok && plus {
			return id + "+", true
		}
	}
	return "", false
}

func spdxException(word string) (string, bool) {
	ok, id := spdxlicenses.IsException(word)
	return id, ok
}

// idString replaces what may not stand in an SPDX identifier.
func idString(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, s)
}
