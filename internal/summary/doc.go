// Package summary writes the page that a job shows of its run: what was built, what it
// is made from, where it is, who signed it, how to install, verify and repeat it; or
// why there is nothing, and what to do.
//
// # Format
//
// GitHub Flavored Markdown (https://github.github.com/gfm/) for a job summary, with
// tables, alerts and <details>. [Page.Markdown] is a function of the Page alone: it
// reads nothing, neither clock nor environment, and the same Page gives the same bytes.
// What is empty has no section.
//
// # Hostile text
//
// Every value of a Page is foreign: names, references, messages and URLs may come from
// an image or a pull request. Each is shown as code, unless it is of a form that can
// mean nothing else, so that no Markdown, HTML, mention or automatic link comes of it.
// Line breaks, control characters and those that turn the direction of text are
// replaced, "${{" is taken apart, and only an http or https URL becomes a link. In
// command lines values are quoted for a POSIX shell.
//
// # Limits
//
// A page has at most [MaxSize] bytes. Rows and sections that do not fit are left out, and
// a line says how many; a single value is cut off at a few thousand characters.
package summary
