package guest

import (
	"strings"
	"testing"
)

func TestFindChecksum(t *testing.T) {
	a, b := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	tests := []struct {
		name, file string
		want       string
		err        string
	}{
		{name: "text mode", file: b + "  bzImage\n" + a + "  kestrel\n", want: a},
		{name: "binary mode", file: a + " *kestrel\n", want: a},
		{name: "no newline at the end", file: a + "  kestrel", want: a},
		{name: "carriage returns and empty lines", file: "\r\n" + a + "  kestrel\r\n\r\n", want: a},
		{name: "upper case", file: strings.ToUpper(a) + "  kestrel\n", want: a},
		{name: "current directory", file: a + "  ./kestrel\n", want: a},
		{name: "other names that contain it", file: b + "  kestrel-arm64\n" + b + "  x/kestrel\n" + b + "  kestrel \n" + a + "  kestrel\n", want: a},
		{name: "not listed", file: b + "  bzImage\n", err: `"kestrel" is not listed`},
		{name: "empty", file: "", err: "not listed"},
		{name: "twice", file: a + "  kestrel\n" + b + "  kestrel\n", err: "line 2: \"kestrel\" is listed a second time"},
		{name: "twice with the same sum", file: a + "  kestrel\n" + a + " *kestrel\n", err: "second time"},
		{name: "short sum", file: a[:62] + "  kestrel\n", err: "line 1"},
		{name: "no hex", file: strings.Repeat("xy", 32) + "  kestrel\n", err: "no sha256"},
		{name: "one space", file: a + " kestrel\n", err: "no line of sha256sum"},
		{name: "no name", file: a + "  \n", err: "no line of sha256sum"},
		{name: "BSD's form", file: "SHA256 (kestrel) = " + a + "\n", err: "no line of sha256sum"},
		{name: "a line that is not understood before", file: "hello\n" + a + "  kestrel\n", err: `line 1: "hello"`},
		{name: "a line that is not understood after", file: a + "  kestrel\n<html>\n", err: `line 2: "<html>"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := findChecksum([]byte(tt.file), "kestrel")
			switch {
			case tt.err == "" && (err != nil || got != tt.want):
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}
