package ghrelease

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// Fault is what goes wrong with a request.
type Fault int

const (
	None          Fault = iota
	Before502           // 502, and nothing was done
	After502            // it was done, and the answer is 502
	CutBefore           // no connection
	CutAfter            // it was done, and the connection broke before the answer
	CutAnswer           // it was done, and the answer breaks off
	Starter             // an upload: 502, and an empty asset is left. Others: Before502
	CutUpload           // an upload: the connection broke in its middle, and an empty asset is left. Others: CutBefore
	Secondary           // 403 with Retry-After
	SecondaryBare       // 403 that names no time
	Primary             // 403: the hour's requests are used up
	TooMany             // 429
	Unavailable         // 503 with a page of HTML
	Faults              // how many there are
)

// limitTime is how long a rate limit lasts, in seconds.
const limitTime = 90

// faulty answers a request with a fault.
func (s *Server) faulty(r *http.Request, f Fault) (reply, error) {
	upload := s.isUpload(r) && r.Method == http.MethodPost
	switch f {
	case Before502:
		return s.drained(r, http.StatusBadGateway, "Server Error")
	case After502:
		if _, err := s.do(r); err != nil {
			return reply{}, err
		}
		return refuse(http.StatusBadGateway, "Server Error"), nil
	case CutBefore:
		return reply{}, syscall.ECONNRESET
	case CutAfter:
		if _, err := s.do(r); err != nil {
			return reply{}, err
		}
		return reply{}, io.ErrUnexpectedEOF
	case CutAnswer:
		a, err := s.do(r)
		if err != nil || len(a.body) == 0 {
			return a, err
		}
		a.body = a.body[:len(a.body)/2]
		a.header.Set("X-Cut", "yes")
		return a, nil
	case Starter, CutUpload:
		if upload {
			s.beginOnly(r)
		}
		if f == Starter {
			return s.drained(r, http.StatusBadGateway, "Server Error")
		}
		if upload {
			_, _ = io.CopyN(io.Discard, r.Body, 3)
		}
		return reply{}, syscall.ECONNRESET
	case Secondary, SecondaryBare, Primary, TooMany:
		return s.limited(r, f)
	case Unavailable:
		_, _ = io.Copy(io.Discard, r.Body)
		return reply{http.StatusServiceUnavailable, http.Header{"Content-Type": {"text/html"}}, []byte("<html>Unicorn!</html>")}, nil
	}
	return s.do(r)
}

// drained answers after the request's body has been read.
func (s *Server) drained(r *http.Request, status int, message string) (reply, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return refuse(status, message), nil
}

// beginOnly leaves an upload's empty asset.
func (s *Server) beginOnly(r *http.Request) {
	if path, ok := strings.CutPrefix(s.below(r), "/repos/"+s.Repo+"/"); ok {
		_, _ = s.begin(call{r: r, path: path, parts: strings.Split(path, "/"), writer: true})
		s.changed()
	}
}

func (s *Server) limited(r *http.Request, f Fault) (reply, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	if f == Primary {
		a := refuse(http.StatusForbidden, "API rate limit exceeded for installation.")
		a.header.Set("X-Ratelimit-Remaining", "0")
		a.header.Set("X-Ratelimit-Reset", strconv.FormatInt(s.now().Unix()+limitTime, 10))
		return a, nil
	}
	status := http.StatusForbidden
	if f == TooMany {
		status = http.StatusTooManyRequests
	}
	a := refuse(status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
	if f != SecondaryBare {
		a.header.Set("Retry-After", fmt.Sprint(limitTime))
	}
	return a, nil
}
