package layer

// shade is what layers hide from the layers below them, by name.
type shade map[string]mark

type mark uint8

const (
	hidesSelf  mark = 1 << iota // something has this name: a lower file of the name is replaced
	hidesBelow                  // nothing of the lower layers is left in it
)

// add takes in the entries of a layer that was read to its end. Within one layer
// nothing hides anything by these rules.
func (s shade) add(entries []entry) {
	for _, e := range entries {
		switch {
		case e.kind == kindOpaque:
			s[e.name] |= hidesBelow
		case e.isDir():
			s[e.name] |= hidesSelf
		default:
			s[e.name] |= hidesSelf | hidesBelow
		}
	}
}

// hides tells whether a file of this name in a lower layer cannot be seen. It
// looks at names alone; see the package's documentation.
func (s shade) hides(name string) bool {
	if s[name]&hidesSelf != 0 {
		return true
	}
	for name != "." {
		name, _ = split(name)
		if s[name]&hidesBelow != 0 {
			return true
		}
	}
	return false
}
