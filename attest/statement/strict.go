package statement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// checkJSON tells whether data is one JSON value in UTF-8 that begins with first,
// in which no object has a key twice. Two readers may differ in which of two they
// take, and so in what has been signed.
func checkJSON(data []byte, first byte) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	// This limits the depth too, so that the tokens can be taken as they come.
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if text := bytes.TrimLeft(data, " \t\r\n"); text[0] != first {
		return errors.New("not a JSON object")
	}
	return checkRepeated(data)
}

// level is an object or an array that is being read.
type level struct {
	keys   map[string]bool // nil in an array
	inside bool            // a key has been read, its value not yet
}

func checkRepeated(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []level
	for {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		top := len(open) - 1
		switch delim, _ := tok.(json.Delim); {
		case delim == '}' || delim == ']':
			open = open[:top]
		case top >= 0 && open[top].keys != nil && !open[top].inside:
			key, _ := tok.(string)
			if open[top].keys[key] {
				return fmt.Errorf("key %q is repeated", key)
			}
			open[top].keys[key], open[top].inside = true, true
			continue
		case delim == '{':
			open = append(open, level{keys: map[string]bool{}})
			continue
		case delim == '[':
			open = append(open, level{})
			continue
		}
		// A value has ended.
		if len(open) == 0 {
			return nil
		}
		open[len(open)-1].inside = false
	}
}

// checkKeys tells whether an object has no other keys than these, written so.
func checkKeys(data []byte, known ...string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	if object == nil {
		return errors.New("null instead of an object")
	}
	for key := range object {
		if !slices.Contains(known, key) {
			return fmt.Errorf("unknown key %q", key)
		}
	}
	return nil
}
