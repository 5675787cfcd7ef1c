// Go-webserver answers every request with a greeting and the time since it was
// started: a plugin that needs nothing but itself.
package main

import (
	"cmp"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	begun := time.Now()
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "Hello from Go, up for %v\n", time.Since(begun).Round(time.Millisecond))
	})
	log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), ":8000"), nil))
}
