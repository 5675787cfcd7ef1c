package boot

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/volant/fledge-action/manifest"
)

func TestCheckAsksWhatTheManifestSays(t *testing.T) {
	health := func(endpoint string) *manifest.HealthCheck {
		return &manifest.HealthCheck{Endpoint: endpoint, TimeoutMS: 1}
	}
	tests := []struct {
		base   string
		health *manifest.HealthCheck
		want   check
		port   int
	}{
		{"http://127.0.0.1:80", health("/"), check{url: "http://127.0.0.1:80/"}, 80},
		{"http://localhost", health("/up"), check{url: "http://localhost/up"}, 80},
		{"http://0.0.0.0:8000/app/", health("/up/"), check{url: "http://0.0.0.0:8000/app/up/"}, 8000},
		{"http://127.0.0.1:1/", health("/a?b=c d"), check{url: "http://127.0.0.1:1/a%3Fb=c%20d"}, 1},
		{"http://127.0.0.1:65535/x", nil, check{url: "http://127.0.0.1:65535/x", any: true}, 65535},
		{"http://127.0.0.1", nil, check{url: "http://127.0.0.1/", any: true}, 80},
	}
	for _, test := range tests {
		got, port, err := checkOf(&manifest.Manifest{Workload: manifest.Workload{BaseURL: test.base}, HealthCheck: test.health})
		if err != nil || got != test.want || port != test.port {
			t.Errorf("%s %+v: %+v, port %d, %v", test.base, test.health, got, port, err)
		}
	}
	for _, base := range []string{"https://127.0.0.1", "127.0.0.1:80", "", "http://127.0.0.1:0", "http://127.0.0.1:65536", "http://:80"} {
		if got, port, err := checkOf(&manifest.Manifest{Workload: manifest.Workload{BaseURL: base}}); err == nil {
			t.Errorf("%q: %+v, port %d", base, got, port)
		}
	}
}

// scripted answers one request after the other, the last one for ever.
func scripted(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) (port int, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		answers[min(n, len(answers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	_, text, _ := net.SplitHostPort(server.Listener.Addr().String())
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port, asked
}

func code(status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// hangUp breaks the connection off, as QEMU does when the guest refuses it.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hang is a connection that QEMU has accepted and the guest not yet.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestPollWaitsForAGoodAnswer(t *testing.T) {
	redirect := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) }
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	slow := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(3 * firstPatience)
		w.WriteHeader(http.StatusNoContent)
	}
	tests := []struct {
		name    string
		any     bool
		answers []func(http.ResponseWriter, *http.Request)
		status  int
		asked   int64 // at least
	}{
		{"at once", false, []func(http.ResponseWriter, *http.Request){code(200)}, 200, 1},
		{"after errors", false, []func(http.ResponseWriter, *http.Request){hangUp, code(503), code(404), code(204)}, 204, 4},
		{"after a connection that hung", false, []func(http.ResponseWriter, *http.Request){hang, hang, code(200)}, 200, 3},
		{"a redirect is no good answer", false, []func(http.ResponseWriter, *http.Request){redirect, code(201)}, 201, 2},
		{"any answer is good without a health check", true, []func(http.ResponseWriter, *http.Request){hangUp, code(500)}, 500, 2},
		{"a redirect then is one", true, []func(http.ResponseWriter, *http.Request){redirect}, 302, 1},
		{"a body without end", false, []func(http.ResponseWriter, *http.Request){endless}, 200, 1},
		{"a slow answer of a guest that is there", false, []func(http.ResponseWriter, *http.Request){hangUp, slow}, 204, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port, asked := scripted(t, test.answers...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			// The name is nobody's: only the port counts.
			got, err := check{url: "http://plugin.invalid:80/x", any: test.any}.poll(ctx, port)
			if err != nil || got != test.status || asked.Load() < test.asked {
				t.Errorf("status %d after %d requests, %v", got, asked.Load(), err)
			}
		})
	}
}

func TestPollTellsWhatCameLast(t *testing.T) {
	closed := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}()
	refused, _ := scripted(t, hangUp)
	wrong, _ := scripted(t, code(503))
	for _, test := range []struct {
		name string
		port int
		want string
	}{
		{"nobody there", closed, "nothing answered"},
		{"refused by the guest", refused, "does the workload listen on this port"},
		{"a bad status", wrong, "the last answer was 503 Service Unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := check{url: "http://127.0.0.1/"}.poll(ctx, test.port)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), fmt.Sprint(test.port)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A connection that QEMU accepts for a guest without a network must not hold up
// the one that is made when there is one.
func TestPollGivesUnansweredConnectionsLittleTime(t *testing.T) {
	port, asked := scripted(t, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := (check{url: "http://127.0.0.1/"}).poll(ctx, port); err == nil {
		t.Fatal("an answer")
	}
	if n := asked.Load(); n < 3 || n > 20 {
		t.Errorf("%d requests in 2 s", n)
	}
}
