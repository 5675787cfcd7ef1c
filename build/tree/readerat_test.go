package tree

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// forward is a content that can only be read on.
type forward struct {
	text  string
	size  int64
	opens *int
}

func (f forward) Size() int64 { return f.size }
func (f forward) Open() (io.ReadCloser, error) {
	*f.opens++
	return io.NopCloser(strings.NewReader(f.text)), nil
}

func TestReaderAtReadsEveryContentAlike(t *testing.T) {
	const text = "0123456789"
	opens := 0
	for name, c := range map[string]Content{"forward": forward{text, 10, &opens}, "random": Bytes(text)} {
		r := NewReaderAt(c)
		for _, test := range []struct {
			off, n int64
			want   string
			err    error
		}{{2, 3, "234", nil}, {5, 5, "56789", nil}, {0, 2, "01", nil}, {8, 4, "89", io.EOF}, {10, 1, "", io.EOF}, {99, 1, "", io.EOF}, {3, 0, "", nil}} {
			b := make([]byte, test.n)
			n, err := r.ReadAt(b, test.off)
			if string(b[:n]) != test.want || err != test.err {
				t.Errorf("%s: ReadAt(%d, %d) = %q, %v; want %q, %v", name, test.n, test.off, b[:n], err, test.want, test.err)
			}
		}
		if _, err := r.ReadAt(nil, -1); err == nil {
			t.Errorf("%s: a negative offset is read", name)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if n, err := r.ReadAt(make([]byte, 1), 4); n != 1 || err != nil {
			t.Errorf("%s: after Close: %d, %v", name, n, err)
		}
	}
	if opens != 3 { // at first, for what lies before, after Close
		t.Errorf("opened %d times, want 3", opens)
	}
	all, err := io.ReadAll(io.NewSectionReader(NewReaderAt(Bytes(text)), 0, 99))
	if !bytes.Equal(all, []byte(text)) || err != nil {
		t.Errorf("%q, %v", all, err)
	}
}

func TestReaderAtTellsOfAContentThatIsTooShort(t *testing.T) {
	opens := 0
	r := NewReaderAt(forward{"0123", 10, &opens})
	if n, err := r.ReadAt(make([]byte, 6), 2); n != 2 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d, %v", n, err)
	}
}
