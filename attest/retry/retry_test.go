package retry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock stands still but while somebody sleeps.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	waits []time.Duration
	warns []string
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = append(c.waits, d)
	c.now = c.now.Add(d)
	return ctx.Err()
}

// options wait as long as they may, by a clock of their own.
func options() (Options, *clock) {
	c := &clock{now: time.Unix(1e9, 0)}
	return Options{
		Service: "log",
		Now:     func() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now },
		Sleep:   c.sleep, Rand: func() float64 { return 1 },
		Warn: func(err error) { c.warns = append(c.warns, err.Error()) },
	}, c
}

// server fails with fail the given number of times.
func server(t *testing.T, times int, fail http.HandlerFunc) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if int(asked.Add(1)) <= times {
			fail(w, req)
			return
		}
		_, _ = io.WriteString(w, "got "+string(body))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func post(ctx context.Context, rt http.RoundTripper, url string, body io.Reader) (string, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return "", 0, err
	}
	resp, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), resp.StatusCode, err
}

func TestFaultsAreTriedAgain(t *testing.T) {
	const s = time.Second
	date := "Mon, 02 Jan 2006 15:04:05 GMT"
	tests := []struct {
		name  string
		fail  http.HandlerFunc
		times int
		waits []time.Duration
	}{
		{"408", status(408), 1, []time.Duration{s}},
		{"429", status(429), 1, []time.Duration{s}},
		{"500", status(500), 1, []time.Duration{s}},
		{"502 for a while", status(502), 9, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 90 * s, 90 * s}},
		{"504", status(504), 1, []time.Duration{s}},
		{"Retry-After in seconds", status(429, "Retry-After", "17"), 2, []time.Duration{17 * s, 17 * s}},
		{"Retry-After past the longest wait", status(503, "Retry-After", "300"), 1, []time.Duration{300 * s}},
		{"Retry-After as a date", status(503, "Date", date, "Retry-After", "Mon, 02 Jan 2006 15:04:35 GMT"), 1, []time.Duration{30 * s}},
		{"Retry-After in the past", status(503, "Date", date, "Retry-After", "Mon, 02 Jan 2006 15:04:00 GMT"), 1, []time.Duration{s}},
		{"Retry-After less than nothing", status(503, "Retry-After", "-5"), 1, []time.Duration{s}},
		{"Retry-After of words", status(503, "Retry-After", "soon"), 1, []time.Duration{s}},
		{"closed connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 2, []time.Duration{s, 2 * s}},
	}
	for _, test := range tests {
		url, asked := server(t, test.times, test.fail)
		o, c := options()
		text, code, err := post(t.Context(), o.Transport(nil), url, strings.NewReader("it"))
		if text != "got it" || code != 200 || err != nil || int(asked.Load()) != test.times+1 {
			t.Errorf("%s: %q, %d, %v after %d requests", test.name, text, code, err, asked.Load())
		}
		if diff := cmp.Diff(test.waits, c.waits); diff != "" {
			t.Errorf("%s: waits (-want +got):\n%s", test.name, diff)
		}
		if len(c.warns) != test.times || !strings.HasPrefix(c.warns[0], "log: trying again in ") {
			t.Errorf("%s: warnings %q", test.name, c.warns)
		}
	}
}

func TestOtherAnswersAreFinal(t *testing.T) {
	for _, code := range []int{201, 302, 400, 401, 403, 404, 409, 422, 501} {
		url, asked := server(t, 99, status(code))
		o, c := options()
		_, got, err := post(t.Context(), o.Transport(nil), url, nil)
		if got != code || err != nil || asked.Load() != 1 || len(c.waits) != 0 {
			t.Errorf("%d: %d, %v after %d requests", code, got, err, asked.Load())
		}
	}
}

func TestWaitsAreRandomUpToTheLongest(t *testing.T) {
	url, _ := server(t, 4, status(503))
	o, c := options()
	parts := []float64{0, 0.5, 0.25, 0.125}
	o.Rand = func() float64 { p := parts[0]; parts = parts[1:]; return p }
	if _, _, err := post(t.Context(), o.Transport(nil), url, nil); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{0, time.Second, time.Second, time.Second}
	if diff := cmp.Diff(want, c.waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	w := Options{}.begin()
	seen := map[time.Duration]bool{}
	for w.tries = 20; len(seen) < 100; {
		d := w.jitter()
		if d < 0 || d >= longestWait || seen[d] {
			t.Fatalf("wait %v after %d others", d, len(seen))
		}
		seen[d] = true
	}
}

func TestPatienceEndsWithTheBudget(t *testing.T) {
	url, asked := server(t, 99, status(502))
	o, c := options()
	o.Budget = 15 * time.Second // 1 + 2 + 4 + 8
	_, _, err := post(t.Context(), o.Transport(nil), url+"/secret?token=x", strings.NewReader("it"))
	var gaveUp *GaveUp
	if !errors.As(err, &gaveUp) || asked.Load() != 5 || len(c.waits) != 4 {
		t.Fatalf("%v after %d requests", err, asked.Load())
	}
	if got, want := gaveUp.Error(), "log unreachable for 15s (5 tries, last: 502 Bad Gateway)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, w := range c.warns {
		if strings.Contains(w, "secret") || strings.Contains(w, "token") {
			t.Error(w)
		}
	}
	o, _ = options()
	_, _, err = post(t.Context(), o.Transport(nil), url, nil)
	if !errors.As(err, &gaveUp) || gaveUp.After > DefaultBudget || gaveUp.After < DefaultBudget-longestWait {
		t.Errorf("%v by default", err)
	}
	url, _ = server(t, 99, status(429, "Retry-After", "601"))
	o, c = options()
	_, _, err = post(t.Context(), o.Transport(nil), url, nil)
	if !errors.As(err, &gaveUp) || len(c.waits) != 0 || !strings.Contains(err.Error(), "log unreachable for 0s (1 try, last: 429 Too Many Requests, asks to wait 10m1s)") {
		t.Errorf("%v after %v", err, c.waits)
	}
	o, _ = options()
	o.Service = ""
	_, _, err = post(t.Context(), o.Transport(nil), url, nil)
	if !errors.As(err, &gaveUp) || "http://"+gaveUp.Service != url {
		t.Errorf("%v without a service's name", err)
	}
}

func TestCancelledRequestIsNotRepeated(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, asked := server(t, 99, func(w http.ResponseWriter, _ *http.Request) { cancel(); w.WriteHeader(503) })
	o, c := options()
	if _, _, err := post(ctx, o.Transport(nil), url, nil); !errors.Is(err, context.Canceled) || asked.Load() != 1 || len(c.waits) != 0 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
	ctx, cancel = context.WithCancel(t.Context())
	url, asked = server(t, 99, status(503))
	o, _ = options()
	o.Sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	if _, _, err := post(ctx, o.Transport(nil), url, nil); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "last: 503") || asked.Load() != 1 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
}

func TestRealSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := sleep(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}

func TestBodyThatCannotBeHadAgainIsSentOnce(t *testing.T) {
	url, asked := server(t, 1, status(503))
	o, _ := options()
	_, code, err := post(t.Context(), o.Transport(nil), url, io.MultiReader(strings.NewReader("it")))
	if code != 503 || err != nil || asked.Load() != 1 {
		t.Errorf("%d, %v after %d requests", code, err, asked.Load())
	}
}

func TestRefusedConnectionIsTriedAgain(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	o, c := options()
	o.Budget = 3 * time.Second
	_, _, err = post(t.Context(), o.Transport(nil), url, strings.NewReader("it"))
	var gaveUp *GaveUp
	if !errors.As(err, &gaveUp) || len(c.waits) != 2 || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v after %v", err, c.waits)
	}
}

func TestSilentServerIsTriedAgain(t *testing.T) {
	stall := make(chan struct{})
	url, _ := server(t, 1, func(http.ResponseWriter, *http.Request) { <-stall })
	defer close(stall)
	o, c := options()
	o.Try = 50 * time.Millisecond
	text, _, err := post(t.Context(), o.Transport(nil), url, strings.NewReader("it"))
	if text != "got it" || err != nil || len(c.warns) != 1 || !strings.Contains(c.warns[0], "no complete answer within 50ms") {
		t.Errorf("%q, %v, %q", text, err, c.warns)
	}
}

func TestSilenceInABodyIsAnError(t *testing.T) {
	stall := make(chan struct{})
	defer close(stall)
	url, _ := server(t, 1, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begin")
		_ = http.NewResponseController(w).Flush()
		<-stall
	})
	o, _ := options()
	o.Try = 50 * time.Millisecond
	_, _, err := post(t.Context(), o.Transport(nil), url, nil)
	var slow *SilentError
	if !errors.As(err, &slow) {
		t.Errorf("%v", err)
	}
}

func TestUntrustedCertificateIsFinal(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer srv.Close()
	o, c := options()
	_, _, err := post(t.Context(), o.Transport(nil), srv.URL, nil)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || len(c.waits) != 0 || asked.Load() != 0 {
		t.Errorf("%v after %v", err, c.waits)
	}
}

func TestWhatIsAFault(t *testing.T) {
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, &SilentError{}, &net.OpError{Op: "dial", Err: errors.New("refused")},
		&net.DNSError{IsTemporary: true}, &net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}},
		errors.New("stream error: stream ID 3; REFUSED_STREAM"), errors.New("http2: server sent GOAWAY and closed the connection"),
	} {
		if !IsFault(err) {
			t.Errorf("%v is final", err)
		}
	}
	for _, err := range []error{
		nil, context.Canceled, context.DeadlineExceeded, &net.DNSError{IsNotFound: true},
		&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, &net.OpError{Op: "dial", Err: context.Canceled}, &net.OpError{Op: "remote error", Err: tls.AlertError(42)},
		&tls.CertificateVerificationError{Err: io.EOF}, errors.New("refused by policy"),
	} {
		if IsFault(err) {
			t.Errorf("%v is tried again", err)
		}
	}
}

func TestDoRepeatsWhatIsTemporary(t *testing.T) {
	o, c := options()
	var met []error
	faults := []error{&Temporary{Err: errors.New("busy"), AtLeast: 7 * time.Second}, io.ErrUnexpectedEOF, nil}
	err := o.Do(t.Context(), func(context.Context) error {
		met = append(met, faults[len(met)])
		return met[len(met)-1]
	})
	if err != nil || len(met) != 3 {
		t.Errorf("%v after %v", err, met)
	}
	if diff := cmp.Diff([]time.Duration{7 * time.Second, 2 * time.Second}, c.waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	for _, final := range []error{errors.New("no"), context.Canceled, &GaveUp{Last: io.EOF}} {
		asked := 0
		err := o.Do(t.Context(), func(context.Context) error { asked++; return final })
		if !errors.Is(err, final) || asked != 1 {
			t.Errorf("%v after %d tries", err, asked)
		}
	}
}

func TestDoEndsATryThatIsSilent(t *testing.T) {
	o, c := options()
	o.Try = time.Millisecond
	tries := 0
	err := o.Do(t.Context(), func(ctx context.Context) error {
		if tries++; tries == 2 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil || tries != 2 || !strings.Contains(c.warns[0], "no complete answer within 1ms") {
		t.Errorf("%v after %d tries, %q", err, tries, c.warns)
	}
}
