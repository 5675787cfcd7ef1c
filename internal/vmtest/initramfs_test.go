package vmtest

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"testing"

	"github.com/volant/fledge-action/internal/facts"
)

func TestParseList(t *testing.T) {
	want := facts.Set{"bad\xff\nname": {Name: "bad\xff\nname", Type: "file", Mtime: facts.Time{Sec: 1<<32 - 1}, LinkGroup: []string{"a", "b"}}}
	var packed bytes.Buffer
	if err := gob.NewEncoder(&packed).Encode(want); err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(packed.Bytes())
	console := "booting\r\n" + ListBegin + "\r\n" + text[:10] + "\r\n" + text[10:] + "\r\n" + ListEnd + "\r\nPower down\r\n"
	got, err := parseList(console)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range facts.Diff(want, got) {
		t.Error(line)
	}
	for _, bad := range []string{"", "Kernel panic\n", ListBegin + "\n" + text, ListBegin + "\n" + text[:8] + "\n" + ListEnd} {
		if got, err := parseList(bad); err == nil {
			t.Errorf("%.40q is a list: %v", bad, got)
		}
	}
}
