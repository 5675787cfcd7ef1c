package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is one problem of a configuration, and where to change it.
type Error struct {
	File    string // as it was given to the reader
	Line    int    // from 1; 0 when the place is not known
	Column  int    // from 1, in characters
	Key     string // as manifest.JoinKey writes it, "" for the file as a whole
	Message string
}

// Error is "file:line:column: message", the form that editors and annotations of
// continuous integration understand.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Message
	case e.Line == 0:
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors are all problems of one file, in the order of their places.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the first *Error.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// sorted brings the errors into the order of the file.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}

// A Position is a place in a file, both counted from 1; columns count characters.
type Position struct{ Line, Column int }
