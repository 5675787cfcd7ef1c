package summary

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	renderer "github.com/yuin/goldmark/renderer/html"
	"golang.org/x/net/html"
)

// rendered is the page as another program reads it, with raw HTML and automatic links.
func rendered(t testing.TB, markdown string) *html.Node {
	t.Helper()
	var out bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(renderer.WithUnsafe()))
	if err := md.Convert([]byte(markdown), &out); err != nil {
		t.Fatal(err)
	}
	tree, err := html.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

var expectedTags = strings.Fields("html head body h2 h3 p strong em blockquote ul li table thead tbody tr th td code pre a br details summary")

// check returns what is in a page that the page itself has not put there. links are the
// hosts that may be linked.
func check(t testing.TB, markdown string, links ...string) []string {
	t.Helper()
	var found []string
	note := func(what ...string) { found = append(found, strings.Join(what, " ")) }
	if len(markdown) > MaxSize || !utf8.ValidString(markdown) || !strings.HasSuffix(markdown, "\n") {
		note("size or encoding")
	}
	if strings.Contains(markdown, "${{") {
		note("expression")
	}
	for _, r := range markdown {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			note("control character", string(r))
		}
	}
	var walk func(n *html.Node, inert bool)
	walk = func(n *html.Node, inert bool) {
		switch n.Type {
		case html.ElementNode:
			if !slices.Contains(expectedTags, n.Data) {
				note("tag", n.Data)
			}
			for _, a := range n.Attr {
				host := ""
				if _, rest, ok := strings.Cut(a.Val, "://"); ok {
					host, _, _ = strings.Cut(rest, "/")
				}
				if !(n.Data == "a" && a.Key == "href" && slices.Contains(links, host) || n.Data == "code" && a.Key == "class" && strings.HasPrefix(a.Val, "language-")) {
					note("attribute", n.Data, a.Key, a.Val)
				}
			}
			inert = inert || n.Data == "code" || n.Data == "pre"
		case html.CommentNode, html.DoctypeNode:
			note("node", n.Data)
		case html.TextNode:
			if !inert && strings.ContainsAny(n.Data, "@#<>`\\*_|") {
				note("text", n.Data)
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, inert)
		}
	}
	walk(rendered(t, markdown), false)
	return found
}

func TestPagesHaveOnlyWhatTheyMean(t *testing.T) {
	for name, page := range pages {
		if found := check(t, page().Markdown(), "github.com"); found != nil {
			t.Errorf("%s: %q", name, found)
		}
	}
}

// TestCheckSeesWhatBreaksOut feeds the check what it is there to find.
func TestCheckSeesWhatBreaksOut(t *testing.T) {
	for _, s := range []string{
		"<script>x</script>", "<img src=x>", "![x](https://evil.example/x.png)", "[x](https://evil.example/)", "https://evil.example/", "www.evil.example",
		"a@evil.example", "@user", "#12", "<!-- x -->", "${{ x }}", "\x1b[31m", "\u202e", "<a onclick=x>", "# x", "\\*",
	} {
		if check(t, "## x\n\n"+s+"\n", "github.com") == nil {
			t.Errorf("%q passes", s)
		}
	}
}

// hostile sets every string of a page.
func hostile(v reflect.Value, s string, urls bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			hostile(v.Elem(), s, urls)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "URL" || urls {
				hostile(v.Field(i), s, urls)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			hostile(v.Index(i), s, urls)
		}
	case reflect.String:
		v.SetString(s)
	}
}

// full is a page with something in each field.
func full() Page {
	p := three()
	p.Plugins = p.Plugins[1:]
	p.Withheld = &Withheld{Why: "x", Fix: "x", Coming: true}
	p.Failure = failed().Failure
	p.Warnings = failed().Failure.Problems
	for i := range p.Plugins {
		p.Plugins[i].Repeat = append(p.Plugins[i].Repeat, Command{Dir: "x", Env: []string{"A=b"}, Argv: []string{"x"}})
	}
	return p
}

func fuzzed(s string) []Page {
	var all []Page
	for _, change := range []func(*Page){
		func(*Page) {}, func(p *Page) { p.Failure = nil }, func(p *Page) { p.Failure, p.Plugins = nil, p.Plugins[:1] },
		func(p *Page) { p.Failure, p.Signature = nil, nil }, func(p *Page) { p.Failure, p.Release = nil, nil }, func(p *Page) { p.Failure.Plugin = "" },
		func(p *Page) { p.Failure, p.Signature.Key, p.Release.Draft = nil, "", false },
	} {
		for _, urls := range []bool{false, true} {
			p := full()
			change(&p)
			if p.Signature != nil {
				key := p.Signature.Key
				hostile(reflect.ValueOf(&p).Elem(), s, urls)
				p.Signature.Key = key // else nothing is keyless
			} else {
				hostile(reflect.ValueOf(&p).Elem(), s, urls)
			}
			for i := range p.Plugins {
				for j, kind := range []Kind{SBOMFile, Record, Checksums, Bundle, Bundles} {
					p.Plugins[i].Others[j].Kind = kind
				}
			}
			all = append(all, p)
		}
	}
	return all
}

var seeds = []string{
	"x", "", " ", "`", "``", "a`", "`a", "```\n# x", "~~~\n<b>", "a\n\n# b", "a|b", "|", "\\|", "a\\", "\\`", "` | <img src=x> | `", "[x](https://evil.example/)", "](https://evil.example/) [",
	"![x](https://evil.example/)", "https://evil.example/", "http://evil.example/?a=b&copy;c", "https://github.com/a) [x](https://evil.example/", "https://github.com@evil.example/", "javascript:alert(1)",
	"https://github.com/\"onclick=x", "https://github.com/<b>", "www.evil.example", "a@evil.example", "@user", "#12", "GH-12", "abcdef1234567", "<details>", "</details>", "</summary>", "<!--", "-->", "<script>alert(1)</script>",
	"${{ secrets.X }}", "\x1b[31m", "\u202e", "\r\n::error::x", "\x00", "\xff", "&lt;b&gt;", "&#60;b&#62;", "*a*", "__a__", "~~a~~", "- a", "1. a", "> a", "    a", "\ta", "---", "===", "[^1]", ":smile:", "$x$", "$(reboot)", "'; reboot; '",
	"| --- | --- |\n| x | y |", "[a]: https://evil.example/", "$\u200b{{", "$${{", "a\u2028b", "[!NOTE]", "- [ ] x", "A=b\nc", "https://[::1]/", "https://evil.example\\@github.com/",
}

func TestNothingBreaksOut(t *testing.T) {
	for _, s := range seeds {
		for i, p := range fuzzed(s) {
			if found := check(t, p.Markdown(), allowed(s)...); found != nil {
				t.Errorf("%q in page %d: %q", s, i, found)
			}
		}
	}
}

// allowed are the hosts that a value may be linked to: its own, as it is a URL field's.
func allowed(s string) []string {
	hosts := []string{"github.com"}
	if to := address(s); to != "" {
		_, rest, _ := strings.Cut(to, "://")
		end := strings.IndexAny(rest+"/", "/?#")
		hosts = append(hosts, rest[:end])
	}
	return hosts
}

func TestAddress(t *testing.T) {
	for s, want := range map[string]string{
		"https://github.com/a/b?c=d&e#f":           "https://github.com/a/b?c=d&amp;e#f",
		"https://github.com/a(b)[c]":               "https://github.com/a%28b%29%5Bc%5D",
		"https://github.com/ü":                     "https://github.com/%C3%BC",
		"http://127.0.0.1:8080/x":                  "http://127.0.0.1:8080/x",
		"https://github.com/${{x}}":                "https://github.com/%24%7B%7Bx%7D%7D",
		"javascript:alert(1)":                      "",
		"data:text/html,x":                         "",
		"//github.com/x":                           "",
		"/x":                                       "",
		"https://user@github.com/":                 "",
		"https:///x":                               "",
		"https://git hub.com/":                     "",
		"https://x/\n":                             "",
		"https://x/" + strings.Repeat("a", maxURL): "",
	} {
		if got := address(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestCommandsAreQuotedForAShell(t *testing.T) {
	for s, want := range map[string]string{"a/b-c.d": "a/b-c.d", "": "''", "a b": "'a b'", "$(x)": "'$(x)'", "a'b": `'a'\''b'`, "a\nb": "'a b'", "~": "'~'", "#": "'#'"} {
		if got := shellWord(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
	c := Command{Dir: "my plugin", Env: []string{"SOURCE_DATE_EPOCH=1 2"}, Argv: []string{"fledge", "build"}}
	if got := c.line(); got != "(cd 'my plugin' && SOURCE_DATE_EPOCH='1 2' fledge build)" {
		t.Errorf("line %s", got)
	}
}

func FuzzMarkdown(f *testing.F) {
	for i, s := range seeds {
		f.Add(s, uint8(i))
	}
	f.Fuzz(func(t *testing.T, s string, which uint8) {
		if len(s) > 2000 {
			return
		}
		all := fuzzed(s)
		if found := check(t, all[int(which)%len(all)].Markdown(), allowed(s)...); found != nil {
			t.Fatalf("%q in page %d: %q", s, int(which)%len(all), found)
		}
	})
}
