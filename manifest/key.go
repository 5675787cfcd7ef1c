package manifest

import (
	"strconv"
	"strings"
)

// JoinKey writes a path of keys the way messages show it: dotted, with segments
// other than letters, digits, "_", "-" and "$" quoted as in Go, and array
// indexes, given as "[0]", attached without a dot.
//
//	JoinKey("workload", "env", "A B")  workload.env."A B"
//	JoinKey("disks", "[1]", "name")    disks[1].name
func JoinKey(path ...string) string {
	var b strings.Builder
	for i, s := range path {
		switch {
		case isIndex(s):
			b.WriteString(s)
			continue
		case i > 0:
			b.WriteByte('.')
		}
		if isBare(s) {
			b.WriteString(s)
		} else {
			b.WriteString(strconv.Quote(s))
		}
	}
	return b.String()
}

// SplitKey is the inverse of [JoinKey].
func SplitKey(key string) []string {
	var path []string
	for key != "" {
		key = strings.TrimPrefix(key, ".")
		if q, err := strconv.QuotedPrefix(key); err == nil {
			s, _ := strconv.Unquote(q)
			path, key = append(path, s), key[len(q):]
			continue
		}
		end := strings.IndexAny(key, ".[")
		if strings.HasPrefix(key, "[") {
			end = strings.IndexByte(key, ']') + 1
		}
		if end <= 0 {
			end = len(key)
		}
		path, key = append(path, key[:end]), key[end:]
	}
	return path
}

func isIndex(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	_, err := strconv.ParseUint(s[1:len(s)-1], 10, 31)
	return err == nil
}

func isBare(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '$') {
			return false
		}
	}
	return s != ""
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }
