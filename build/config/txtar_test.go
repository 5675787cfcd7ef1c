package config

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// An archive is a file in the txtar format: a comment, then files, each behind a
// line "-- name --". That much of the format needs no library.
type archive struct {
	comment string
	files   []archived
}

type archived struct{ name, data string }

func readArchive(t testing.TB, path string) archive {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var a archive
	for line := range strings.SplitAfterSeq(string(text), "\n") {
		name, isHeader := strings.CutPrefix(line, "-- ")
		name, closed := strings.CutSuffix(strings.TrimSuffix(name, "\n"), " --")
		switch n := len(a.files); {
		case isHeader && closed:
			a.files = append(a.files, archived{name: name})
		case n == 0:
			a.comment += line
		default:
			a.files[n-1].data += line
		}
	}
	return a
}

func (a archive) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(a.comment)
	for _, f := range a.files {
		b.WriteString("-- " + f.name + " --\n" + f.data)
	}
	return b.Bytes()
}

func (a archive) file(name string) []byte {
	for _, f := range a.files {
		if f.name == name {
			return []byte(f.data)
		}
	}
	return nil
}
