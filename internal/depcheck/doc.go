// Package depcheck holds no code, only tests of the module as a whole: which
// package may import which, and which functions are banned where.
package depcheck
