package compare

import (
	"fmt"
	"strconv"

	"github.com/volant/fledge-action/internal/artifact"
)

// archives compares the structures of two newc archives.
func (c *comparison) archives() {
	a, b := c.a.Archive, c.b.Archive
	ca, cb := a.Compression, b.Compression
	c.structure("archive", "compression", ca.Kind, cb.Kind)
	if ca.Kind == cb.Kind {
		c.fields(ca.Kind+" header", headerFields(ca.Header), headerFields(cb.Header))
		c.structure("archive", "padding after the "+ca.Kind+" data", c.a.Size-ca.End, c.b.Size-cb.End)
	}
	c.structure("archive", "size", c.a.Size, c.b.Size)
	c.structure("archive", "uncompressed size", a.Uncompressed, b.Uncompressed)
	c.structure("archive", "padding after the trailer", padding(a), padding(b))
	c.order(a, b)
	for _, r := range a.Records {
		other := recordOf(c.b, b, r)
		if other != nil {
			c.record(r, other)
		}
	}
	if c.samePlain {
		c.result.Structures = append(c.result.Structures, Structure{"archive", Change{
			Field: "compressed data", A: "one way", B: "another way; uncompressed they are the same bytes",
		}})
	}
}

func headerFields(list []artifact.Field) []field {
	out := make([]field, 0, len(list))
	for _, f := range list {
		out = append(out, field{f.Name, f.Value})
	}
	return out
}

// padding is how many bytes follow the trailer.
func padding(a *artifact.Archive) int64 { return a.Uncompressed - a.Records[len(a.Records)-1].Body() }

// recordOf finds the other archive's record of the same name.
func recordOf(artifacts *artifact.Artifact, a *artifact.Archive, r *artifact.Record) *artifact.Record {
	if r.Entry == nil {
		return a.Records[len(a.Records)-1]
	}
	if e := artifacts.Lookup(r.Entry.Name); e != nil {
		return e.Record()
	}
	return nil
}

// order finds the first record that is at another place among those that both
// archives have.
func (c *comparison) order(a, b *artifact.Archive) {
	x, y := common(a, c.b), common(b, c.a)
	for i := range x { // both have the same names
		if x[i] != y[i] {
			c.structure("archive", "order of records", fmt.Sprintf("common record %d is %q", i+1, x[i]), strconv.Quote(y[i]))
			return
		}
	}
}

func common(a *artifact.Archive, other *artifact.Artifact) []string {
	var names []string
	for _, r := range a.Records {
		if r.Entry != nil && other.Lookup(r.Entry.Name) != nil {
			names = append(names, r.Entry.Name)
		}
	}
	return names
}

func digits(r *artifact.Record) string {
	if r.Lower {
		return "lower"
	}
	return "upper"
}

// told are fields of a header that paths have told about.
var told = map[string]bool{
	"c_mode": true, "c_uid": true, "c_gid": true, "c_mtime": true, "c_nlink": true, "c_namesize": true,
}

// record compares two headers of one name.
func (c *comparison) record(a, b *artifact.Record) {
	where := "header of " + strconv.Quote(a.Name)
	c.structure(where, "name", strconv.Quote(a.Name), strconv.Quote(b.Name))
	c.structure(where, "c_magic", a.Magic, b.Magic)
	if a.Fields == b.Fields { // other numbers may well have no such digits
		c.structure(where, "case of digits", digits(a), digits(b))
	}
	device := a.Entry != nil && (a.Entry.Type == artifact.Char || a.Entry.Type == artifact.Block)
	for i, name := range artifact.FieldNames {
		switch {
		case a.Entry != nil && told[name]:
		case device && (name == "c_rdevmajor" || name == "c_rdevminor"):
		case name == "c_filesize" && a.Entry != nil && a.Entry.Size != b.Entry.Size:
		default:
			c.structure(where, name, a.Fields[i], b.Fields[i])
		}
	}
}
