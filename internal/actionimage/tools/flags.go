package tools

import (
	"flag"
	"os"
)

// Flags defines the flags that say where packages come from. The function that it
// returns is for after they are parsed.
func Flags(set *flag.FlagSet) func() (Source, error) {
	lock := set.String("lock", "", "`file` that lists Debian's packages; without it this version's own")
	debs := set.String("debs", "", "`folder` that has the packages; without it they are fetched")
	archive := set.String("archive", Archive, "`URL` to fetch them from")
	return func() (Source, error) {
		s := Source{Debs: *debs, Archive: *archive}
		if *lock == "" {
			return s, nil
		}
		text, err := os.ReadFile(*lock)
		if err != nil {
			return s, err
		}
		s.Lock, err = Parse(*lock, text)
		return s, err
	}
}
