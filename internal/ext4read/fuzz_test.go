package ext4read

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var updateSeeds = flag.Bool("update", false, "make the images in testdata again")

// readAll walks an image and reads the first bytes of every file.
func readAll(data []byte, opt Options) error {
	_, err := readNames(data, opt)
	return err
}

func readNames(data []byte, opt Options) (names int, err error) {
	f, err := Open(bytes.NewReader(data), int64(len(data)), opt)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	err = f.Walk(func(name string, in *Inode) error {
		names++
		if _, err := in.Extents(); err != nil {
			return err
		}
		if !in.Mode.IsRegular() {
			return nil
		}
		r, err := in.Open()
		if err != nil {
			return err
		}
		for _, off := range []int64{0, r.Size() / 2, r.Size() - 1} {
			if _, err := r.ReadAt(buf, max(off, 0)); err != nil && err != io.EOF {
				return fmt.Errorf("%q: %w", name, err)
			}
		}
		return nil
	})
	return names, err
}

// isVerdict reports whether an error is about the image, not about reading it.
func isVerdict(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported)
}

// seedImages are the images that fuzzing damages: richFlavours as they were made
// once.
func seedImages(t testing.TB) [][]byte {
	t.Helper()
	var all [][]byte
	for i := range richFlavours {
		file, err := os.Open(seedPath(i))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		all = append(all, data)
	}
	return all
}

func seedPath(i int) string { return filepath.Join("testdata", fmt.Sprintf("rich-%d.img.gz", i)) }

func TestUpdateSeeds(t *testing.T) {
	if !*updateSeeds {
		t.Skip("SKIP: rewrites the fixed images; run with -update")
	}
	for i, fl := range richFlavours {
		image, err := os.ReadFile(richImage(t, fl.size, fl.args...))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(image); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(seedPath(i), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// mutate changes bytes of an image. Each edit is four bytes: two choose one of
// the image's bytes that are not in a zero run, one what to do, one is a value.
func mutate(image, edits []byte, places []int) []byte {
	data := bytes.Clone(image)
	for ; len(edits) >= 4; edits = edits[4:] {
		at := places[int(le.Uint16(edits))%len(places)]
		if edits[2]&8 != 0 {
			at = min(at+int(edits[2]>>4), len(data)-1)
		}
		switch edits[2] & 7 {
		case 0:
			data[at] = edits[3]
		case 1:
			data[at] ^= 1 << (edits[3] & 7)
		case 2:
			data[at] += edits[3]
		case 3:
			data[at] = 0xFF
		case 4: // the whole block of another place
			from := int(edits[3]) * 1024 % len(data)
			copy(data[at&^1023:at&^1023+1024], data[from:])
		default:
			copy(data[at:], []byte{edits[3], 0, 0, 0})
		}
	}
	return data
}

// placesOf lists offsets of an image that hold something.
func placesOf(image []byte) []int {
	var places []int
	for i, b := range image {
		if b != 0 {
			places = append(places, i)
		}
	}
	return places
}

func FuzzRead(f *testing.F) {
	images := seedImages(f)
	places := make([][]int, len(images))
	for i := range images {
		places[i] = placesOf(images[i])
		f.Add(byte(i), []byte(nil))
		f.Add(byte(i), []byte{1, 2, 0, 4})
		f.Add(byte(i), []byte{200, 0, 3, 0, 77, 3, 4, 9})
	}
	f.Fuzz(func(t *testing.T, image byte, edits []byte) {
		i := int(image) % len(images)
		exercise(t, mutate(images[i], edits[:min(len(edits), 256)], places[i]))
	})
}

// exercise reads and checks a hostile image within limits and time.
func exercise(t *testing.T, data []byte) {
	start := time.Now()
	for _, opt := range []Options{{}, {Verify: true}, {MaxExtents: 10, MaxDirEntries: 20, MaxDepth: 2}} {
		if err := readAll(data, opt); err != nil && !isVerdict(err) {
			t.Errorf("reading with %+v: %v is no verdict on the image", opt, err)
		}
	}
	f, err := Open(bytes.NewReader(data), int64(len(data)), Options{})
	if err != nil {
		return
	}
	for _, opt := range []CheckOptions{{}, {ZeroFree: true, ExactBackups: true}} {
		if _, err := f.Check(context.Background(), opt); err != nil && !isVerdict(err) {
			t.Errorf("checking with %+v: %v is no verdict on the image", opt, err)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestSeedsGetPastOpen(t *testing.T) {
	for i, image := range seedImages(t) {
		names, err := readNames(image, Options{Verify: true})
		if err != nil || names < 150 {
			t.Errorf("image %d: %d names, %v", i, names, err)
		}
		f, err := Open(bytes.NewReader(image), int64(len(image)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := check(t, f, CheckOptions{}); got != "" {
			t.Errorf("image %d: Check found %s", i, got)
		}
		places, past, stopped := placesOf(image), 0, 0
		for n := range 200 {
			edits := []byte{byte(n * 37), byte(n), byte(n % 8), byte(n * 11)}
			names, err := readNames(mutate(image, edits, places), Options{})
			if names > 0 {
				past++
			}
			if err != nil {
				stopped++
			}
		}
		if past < 150 || stopped < 5 {
			t.Errorf("image %d: of 200 mutants %d got past Open and %d were refused", i, past, stopped)
		}
	}
}

func TestSurvivesRandomDamage(t *testing.T) {
	for i, image := range seedImages(t)[:4] {
		places := placesOf(image)
		state := uint32(i + 1)
		for range 300 {
			edits := make([]byte, 24)
			for j := range edits {
				state = state*1664525 + 1013904223
				edits[j] = byte(state >> 24)
			}
			exercise(t, mutate(image, edits, places))
		}
	}
}
