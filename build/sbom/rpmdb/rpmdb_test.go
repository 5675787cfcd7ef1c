package rpmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/internal/rpmtest"
)

var makers = map[string]func([][]byte) []byte{
	"sqlite":         makeSQLite,
	"ndb":            rpmtest.NDB,
	"bdb":            func(h [][]byte) []byte { return makeBDB(binary.LittleEndian, h) },
	"bdb big-endian": func(h [][]byte) []byte { return makeBDB(binary.BigEndian, h) },
}

// samples are headers of sizes around what a page holds.
func samples() (headers [][]byte, want []Package) {
	for i, size := range []int{0, 700, 5000, 30, 1100} {
		h, p := sample(i, size)
		headers, want = append(headers, h), append(want, p)
	}
	return headers, want
}

func read(b []byte) (all []Package, err error) {
	err = Read(bytes.NewReader(b), int64(len(b)), func(p Package) error {
		all = append(all, p)
		return nil
	})
	return all, err
}

func TestReadFindsEveryPackage(t *testing.T) {
	headers, want := samples()
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			got, err := read(make(headers))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadReportsDamage(t *testing.T) {
	headers, _ := samples()
	sqlite, ndb, bdb := makeSQLite(headers), rpmtest.NDB(headers), makers["bdb"](headers)
	with := func(b []byte, at int, patch string) []byte {
		b = bytes.Clone(b)
		copy(b[at:], patch)
		return b
	}
	leaf := 1024 * 2 // the third page: leaf of the first package
	for _, test := range []struct {
		name  string
		data  []byte
		want  string
		least int // packages that are read all the same
	}{
		{"nothing", nil, "no database", 0},
		{"text", []byte(strings.Repeat("text ", 100)), "none of SQLite, ndb and Berkeley DB", 0},
		{"sqlite: page size", with(sqlite, 16, "\x00\x07"), "pages of 7 bytes", 0},
		{"sqlite: reserved space", with(with(sqlite, 16, "\x02\x00"), 20, "\x21"), "pages of 512 bytes", 0},
		{"sqlite: cut short", sqlite[:len(sqlite)-1024], "past its end", 3},
		{"sqlite: no table", bytes.ReplaceAll(sqlite, []byte("tablePackages"), []byte("tablePickages")), "no table Packages", 0},
		{"sqlite: page type", with(sqlite, leaf, "\x0a"), "is of no table", 0},
		{"sqlite: cells", with(sqlite, leaf+3, "\xff\xff"), "cells", 0},
		{"sqlite: a page twice", with(sqlite, 1024+8, "\x00\x00\x00\x03"), "used twice", 4},
		{"sqlite: a loop", with(sqlite, 1024+8, "\x00\x00\x00\x02"), "used twice", 4},
		{"ndb: version", with(ndb, 4, "\x01"), "version 1", 0},
		{"ndb: slots", with(ndb, 12, "\xff\xff"), "pages of slots", 0},
		{"ndb: slot", with(ndb, 48, "Tols"), "no slot", 1},
		{"ndb: blob", with(ndb, ndbPage, "BlbX"), "no blob", 0},
		{"ndb: size", with(ndb, ndbPage+12, "\xff\xff\xff\x01"), "past its end", 0},
		{"ndb: size over the limit", with(ndb, ndbPage+12, "\x01\x00\x00\x02"), "limit is 33554432", 0},
		{"bdb: page size", with(bdb, 20, "\x01\x02"), "pages of", 0},
		{"bdb: encrypted", with(bdb, 24, "\x01"), "encrypted", 0},
		{"bdb: last page", with(bdb, 32, "\xff"), "past its end", 0},
		{"bdb: items", with(bdb, 1024+20, "\xff\xff"), "items", 0},
		{"bdb: item", with(bdb, 1024+26, "\x01\x00"), "an item at byte 1", 0},
		{"bdb: overflow page", with(bdb, 3*1024+25, "\x0d"), "no overflow page", 0},
		{"bdb: a page twice", with(bdb, 3*1024+16, "\x02"), "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := read(test.data)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if len(got) < test.least {
				t.Errorf("%d packages, want at least %d", len(got), test.least)
			}
		})
	}
}

func TestReadGoesOnAfterADamagedHeader(t *testing.T) {
	headers, want := samples()
	headers[2] = rpmtest.Header(rpmtest.Tags{tagVersion: "no name"})
	got, err := read(makeSQLite(headers))
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "without a package's name") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(append(want[:2:2], want[3:]...), got); diff != "" {
		t.Error(diff)
	}
}

func TestHeaderLimits(t *testing.T) {
	for _, test := range []struct {
		what string
		data []byte
		want Package // "" is an error
	}{
		{"a string at the limit", rpmtest.Header(rpmtest.Tags{tagName: "a", tagVersion: strings.Repeat("v", maxString)}), Package{Name: "a", Version: strings.Repeat("v", maxString)}},
		{"a string past it", rpmtest.Header(rpmtest.Tags{tagName: "a", tagVersion: strings.Repeat("v", maxString+1)}), Package{Name: "a"}},
		{"a number where a string belongs", rpmtest.Header(rpmtest.Tags{tagName: "a", tagVersion: uint32(7)}), Package{Name: "a"}},
		{"a string where a list belongs", rpmtest.Header(rpmtest.Tags{tagName: "a", tagRequireName: "b"}), Package{Name: "a"}},
		{"a string where a number belongs", rpmtest.Header(rpmtest.Tags{tagName: "a", tagEpoch: "b"}), Package{Name: "a"}},
		{"more data than there is", rpmtest.Header(rpmtest.Tags{tagName: "a"})[:20], Package{}},
		{"a few bytes", []byte{0, 0}, Package{}},
		{"too many tags", append([]byte{0, 1, 0, 1, 0, 0, 0, 0}, make([]byte, 16*(maxTags+1))...), Package{}},
	} {
		got, err := parseHeader(test.data)
		if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != (test.want.Name == "") {
			t.Errorf("%s: %v %s", test.what, err, diff)
		}
	}
	many := make([]string, maxStrings+1)
	for i := range many {
		many[i] = "x"
	}
	if got, err := parseHeader(rpmtest.Header(rpmtest.Tags{tagName: "a", tagRequireName: many})); len(got.Requires) != maxStrings || err != nil {
		t.Errorf("%d values, %v; want %d", len(got.Requires), err, maxStrings)
	}
}

func TestReadRefusesMoreThanTheLimit(t *testing.T) {
	if err := Read(bytes.NewReader(nil), MaxSize+1, nil); err == nil || !strings.Contains(err.Error(), "the limit is") {
		t.Errorf("error %v", err)
	}
	r := &reader{yield: func([]byte) error { return nil }}
	for i := range MaxPackages + 1 {
		if err := r.give(nil); (err != nil) != (i == MaxPackages) {
			t.Fatalf("package %d: %v", i+1, err)
		}
	}
}

// FuzzRead wants neither a panic nor memory that the input does not account for.
func FuzzRead(f *testing.F) {
	headers, _ := samples()
	for _, make := range makers {
		f.Add(make(headers))
		f.Add(make(headers[:1]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := read(b)
		bytes := 0
		for _, p := range got {
			bytes += len(p.Name) + len(p.Version) + len(p.License)
			if p.Name == "" {
				t.Error("a package without a name")
			}
		}
		if bytes > 4*len(b)+1<<16 {
			t.Errorf("%d bytes of names from %d of a database", bytes, len(b))
		}
		if err != nil && len(err.Error()) > 4<<10 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// TestWhatOfARecordLiesOnItsPage has numbers worked out by hand from fileformat2, for
// pages of 4096 bytes: X = 4061, M = 489.
func TestWhatOfARecordLiesOnItsPage(t *testing.T) {
	d := sqlite{usable: 4096}
	for size, want := range map[uint64]uint64{1: 1, 4061: 4061, 4062: 489, 4581: 489, 4582: 490, 8153: 4061, 8154: 489, 8673: 489} {
		if got := d.local(size); got != want {
			t.Errorf("%d bytes: %d on the page, want %d", size, got, want)
		}
	}
}

func TestBlobsThatOverlapCostNoMoreThanTheFile(t *testing.T) {
	h, _ := sample(1, 3000)
	b := rpmtest.NDB([][]byte{h})
	for at := 48; at < 4096; at += 16 {
		copy(b[at:], b[32:48])
	}
	if got, err := read(b); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "overlap") || len(got) > 3 {
		t.Errorf("%d packages, %v", len(got), err)
	}
}

func TestReadEndsWithItsCaller(t *testing.T) {
	headers, _ := samples()
	stop, calls := errors.New("stop"), 0
	b := rpmtest.NDB(headers)
	err := Read(bytes.NewReader(b), int64(len(b)), func(Package) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestReadGivesUpAfterManyDamagedHeaders(t *testing.T) {
	var headers [][]byte
	for range maxDamaged {
		headers = append(headers, rpmtest.Header(rpmtest.Tags{tagVersion: "no name"}))
	}
	whole, _ := sample(1, 10)
	if got, err := read(makeSQLite(append(headers[1:], whole))); len(got) != 1 || err == nil {
		t.Errorf("%d packages, %v", len(got), err)
	}
	if got, err := read(makeSQLite(append(headers, whole))); len(got) != 0 || err == nil {
		t.Errorf("%d packages, %v", len(got), err)
	}
}
