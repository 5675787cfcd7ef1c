// Package elftest makes ELF files for tests: the least that says what a test is
// about. A static amd64 one without libraries really runs and exits with status 0.
package elftest
