package initramfs

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
)

func TestIsArchiveKnowsWhatWriteMakes(t *testing.T) {
	big := tree.New()
	if err := big.Put("f", &tree.Node{Mode: 0o644, Content: tree.Bytes(strings.Repeat("0123456789", 100_000))}); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []*tree.Tree{tree.New(), big} {
		for _, c := range []Compression{Gzip, Zstd, None} {
			var b bytes.Buffer
			if _, err := Write(t.Context(), &b, tr, Options{Compression: c}); err != nil {
				t.Fatal(err)
			}
			if !IsArchive(bytes.NewReader(b.Bytes())) {
				t.Errorf("%s archive of %d bytes is not known", c, b.Len())
			}
		}
	}
	var other bytes.Buffer
	z := gzip.NewWriter(&other)
	z.Write([]byte("a backup"))
	z.Close()
	for _, text := range []string{"", "0707", "070702", "text", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd", other.String()} {
		if IsArchive(strings.NewReader(text)) {
			t.Errorf("%q is taken for an archive", text)
		}
	}
}
