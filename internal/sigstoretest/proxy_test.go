package sigstoretest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proxied is a proxy before a service that answers "hello" and counts.
func proxied(t *testing.T) (p *Proxy, served *int) {
	t.Helper()
	served = new(int)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*served++
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "hello "+string(body))
	}))
	t.Cleanup(service.Close)
	p, err := newProxy(to(strings.TrimPrefix(service.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Down)
	return p, served
}

// ask is the status and the text of the answer; an answer that is cut is an error.
func ask(client *http.Client, url string) (int, string, error) {
	answer, err := client.Post(url, "text/plain", strings.NewReader("there"))
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func TestProxyTreatsRequestsAsTold(t *testing.T) {
	for name, test := range map[string]struct {
		fault  Fault
		status int
		text   string
		fails  bool
		served int // of one faulty request
	}{
		"status":         {Fault{Times: 1, Status: 503, Body: "no"}, 503, "no", false, 0},
		"page":           {withOne(HTML(502)), 502, HTML(502).Body, false, 0},
		"cut":            {Fault{Times: 1, Cut: true}, 200, "hello", true, 1},
		"lost":           {Fault{Times: 1, Lose: true}, 0, "", true, 1},
		"hang":           {Fault{Times: 1, Hang: true}, 0, "", true, 0},
		"slow":           {Fault{Times: 1, Delay: 20 * time.Millisecond}, 200, "hello there", false, 1},
		"slower":         {Fault{Times: 1, Delay: time.Hour}, 0, "", true, 0},
		"no such matter": {Fault{Status: 500, Match: func(*http.Request) bool { return false }}, 200, "hello there", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, served := proxied(t)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			if test.fault.Hang || test.fault.Delay == time.Hour {
				client.Timeout = 100 * time.Millisecond
			}
			p.Fail(test.fault)
			status, text, err := ask(client, p.URL())
			if status != test.status || text != test.text || (err != nil) != test.fails || *served != test.served {
				t.Errorf("%d %q %v, served %d times; want %+v", status, text, err, *served, test)
			}
			client.Timeout = time.Minute
			if status, text, err := ask(client, p.URL()); status != 200 || text != "hello there" || err != nil {
				t.Errorf("the next: %d %q %v, want it to be passed on", status, text, err)
			}
			requests := p.Requests()
			if len(requests) != 2 || requests[0].Fault == (test.fault.Match != nil) || requests[1].Fault {
				t.Errorf("noted %+v", requests)
			}
		})
	}
}

func withOne(f Fault) Fault {
	f.Times = 1
	return f
}

func TestProxyThatIsDownRefuses(t *testing.T) {
	p, _ := proxied(t)
	client := &http.Client{}
	p.Down()
	if _, _, err := ask(client, p.URL()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want the connection to be refused", err)
	}
	if err := p.Up(); err != nil {
		t.Fatal(err)
	}
	if status, _, err := ask(client, p.URL()); status != 200 || err != nil {
		t.Errorf("%d %v after it is up again", status, err)
	}
}

func TestFrontKnowsOnlyItsHosts(t *testing.T) {
	s := &Stack{t: t, dir: t.TempDir()}
	if err := s.startIssuer(); err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	client := s.Client()
	answer, err := client.Get(Issuer + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the issuer answered %s", answer.Status)
	}
	for _, url := range []string{"https://tuf-repo-cdn.sigstore.dev/", "https://localhost.sigstore.test/", "http://example.com/"} {
		if answer, err := client.Get(url); err == nil && answer.StatusCode == http.StatusOK {
			t.Errorf("%s answered %s", url, answer.Status)
		}
	}
	if got := strings.Join(s.Strays(), " "); got != "tuf-repo-cdn.sigstore.dev:443 localhost.sigstore.test:443 example.com" {
		t.Errorf("strays are %q", got)
	}
	s.Handle("api.github.com", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "made up") }))
	if _, text, err := ask(client, "https://api.github.com/meta"); text != "made up" || err != nil {
		t.Errorf("%q %v", text, err)
	}
}
