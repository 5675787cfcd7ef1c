//go:build !unix

package cli

func setUmask(string) error { return nil }
