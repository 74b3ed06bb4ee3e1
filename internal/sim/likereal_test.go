package sim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"usher/internal/stack"
)

// TestSimulatedFocusAndJibriAreLikeTheReal compares what the simulated focus and recorder
// send over a real Prosody with what Jicofo 7ebb13d and Jibri 62369d5 sent: the
// same elements and attributes in the same order, and the same words where there
// is a choice of few. Ids, names and addresses differ.
func TestSimulatedFocusAndJibriAreLikeTheReal(t *testing.T) {
	const (
		automatic  = "../../muc/testdata/real/recording-automatic-alice.xml"
		fromClient = "../../muc/testdata/real/recording-from-the-client-alice.xml"
		status     = "../../muc/testdata/real/jibri-recording-status.xml"
		announced  = "../../jibri/testdata/real/jibri-brewery-presence.xml"
		says       = "../../jibri/testdata/real/jibri-iqs.xml"
		forgotten  = "../../component/testdata/stop-after-jicofo-restart.xml"
		// The one bridge of that site moved, for a moment without another, and in one
		// of the meetings it never got its count out.
		noBridge = "<{http://jitsi.org/protocol/focus}bridgeNotAvailable></>"
		bridges  = "<{http://jitsi.org/protocol/focus}property key=bridge-count value=1></>"
		// Its page of Jibri was no jitsi-meet, which says that it is a recorder.
		recorder = "<features><feature var=*></></>"
	)
	s := newStudio(t)
	j := s.jibri(t, "j1", nil)
	room, nick := s.site.Room("real"), "/ear"
	alice := visit(t, s.site, "real", "Alice", false)
	must(t, alice.login(within(t)))
	must(t, alice.askFocus(within(t)))
	e := newEar(t, s.site)
	e.send("<presence from='", e.jid, "' to='", stack.Brewery, nick, "'><x xmlns='", nsMUC, "'/></presence>")
	e.send("<presence from='", e.jid, "' to='", room, nick, "'><x xmlns='", nsMUC, "'/></presence>")
	same := func(what, got, want string) {
		t.Helper()
		for _, own := range []string{noBridge, bridges, recorder} {
			got, want = strings.ReplaceAll(got, own, ""), strings.ReplaceAll(want, own, "")
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	focus := room + "/" + focusNick

	same("a Jibri that waits", e.hears(stack.Brewery+"/j1", "status=idle"), captured(t, announced, 3))
	same("the focus's presence", e.hears(focus, ""), captured(t, fromClient, 24))
	must(t, s.focus.changed.await(within(t), func() bool {
		s.focus.mu.Lock()
		defer s.focus.mu.Unlock()
		m := s.focus.conferences[room].member("ear")
		return m != nil && m.role == owner
	}))
	const start = `<jibri xmlns='` + nsJibri + `' action='start' recording_mode='file' app_data='{}'/>`
	const stop = `<jibri xmlns='` + nsJibri + `' action='stop' recording_mode='file'/>`
	same("a stop without a session", e.ask(focus, stop), captured(t, forgotten, 3))

	must(t, alice.enter(within(t)))
	got, want := e.hears(focus, "bridge-count"), captured(t, automatic, 42)
	if got != want {
		t.Errorf("the focus's presence with a bridge:\n got %s\nwant %s", got, want)
	}
	same("a start", e.ask(focus, start), captured(t, fromClient, 46))
	same("a Jibri at work", e.hears(stack.Brewery+"/j1", "status=busy"), captured(t, announced, 2))
	browser := room + "/" + j.job.nick
	same("the recorder comes", e.hears(browser, ""), captured(t, fromClient, 48))
	same("the recorder records", e.hears(browser, "session_id"), captured(t, fromClient, 50))
	same("the focus says on", e.hears(focus, "status=on"), captured(t, fromClient, 52))
	same("a stop", e.ask(focus, stop), "<iq type=result></>") // real-stack: an empty result
	same("the focus says off", e.hears(focus, "status=off"), captured(t, fromClient, 54))
	same("the recorder leaves", e.hears(browser, "type=unavailable"), captured(t, fromClient, 56))

	must(t, j.WaitIdle(within(t)))
	s.selectable(t, 1)
	j.Behave(FailsLater)
	e.ask(focus, start)
	same("the focus says off, error", e.hears(focus, "failure_reason=error"), captured(t, status, 1))
	must(t, j.WaitIdle(within(t)))
	same("a Jibri accepts", e.ask(stack.Brewery+"/j1", strings.Replace(start, "/>", " room='"+room+"' session_id='0123'/>", 1)), captured(t, says, 1))
	same("a Jibri fails", e.hears(stack.Brewery+"/j1", "failure_reason"), captured(t, says, 2))
}

// ear is somebody in rooms who notes what is sent to it, on a component stream
// read as it is. It answers every request with an empty result.
type ear struct {
	t    *testing.T
	wire *wire
	jid  string
	news bell

	mu    sync.Mutex
	heard []heard
	asked int
}

type heard struct{ from, id, shape string }

func newEar(t *testing.T, site Site) *ear {
	t.Helper()
	domain := stack.ComponentDomain // which the brewery lets in
	w, err := dialWire(within(t), site.ComponentAddr, domain, stack.ComponentSecret)
	must(t, err)
	e := &ear{t: t, wire: w, jid: "ear@" + domain + "/x"}
	done := make(chan struct{})
	t.Cleanup(func() {
		w.conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		d := xml.NewDecoder(w.in)
		for {
			tok, err := d.Token()
			if err != nil {
				return
			}
			if start, ok := tok.(xml.StartElement); ok {
				e.take(d, start)
			}
		}
	}()
	return e
}

func (e *ear) take(d *xml.Decoder, start xml.StartElement) {
	attr := func(name string) string {
		i := slices.IndexFunc(start.Attr, func(a xml.Attr) bool { return a.Name.Local == name })
		if i < 0 {
			return ""
		}
		return start.Attr[i].Value
	}
	shape, err := shapeOf(d, start)
	if err != nil {
		return
	}
	if kind := attr("type"); start.Name.Local == "iq" && (kind == "get" || kind == "set") {
		_ = e.wire.write("<iq type='result' from='", attr("to"), "' to='", attr("from"), "' id='", attr("id"), "'/>")
	}
	e.mu.Lock()
	e.heard = append(e.heard, heard{attr("from"), attr("id"), shape})
	e.mu.Unlock()
	e.news.ring()
}

func (e *ear) send(text ...string) {
	e.t.Helper()
	must(e.t, e.wire.write(text...))
}

// wait returns the first stanza that ok is true of, and forgets it.
func (e *ear) wait(what string, ok func(heard) bool) string {
	e.t.Helper()
	var found heard
	err := e.news.await(within(e.t), func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		i := slices.IndexFunc(e.heard, ok)
		if i < 0 {
			return false
		}
		found = e.heard[i]
		e.heard = slices.Delete(e.heard, i, i+1)
		return true
	})
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.t.Fatalf("no %s in %q", what, e.heard)
	}
	return found.shape
}

// hears returns the first stanza of a sender, of those not returned yet, whose
// shape contains a text.
func (e *ear) hears(from, text string) string {
	e.t.Helper()
	return e.wait(from+" with "+text, func(h heard) bool { return h.from == from && strings.Contains(h.shape, text) })
}

// ask sends a request and returns the answer.
func (e *ear) ask(to, payload string) string {
	e.t.Helper()
	e.asked++
	id := fmt.Sprint("ask", e.asked)
	e.send("<iq type='set' from='", e.jid, "' to='", to, "' id='", id, "'>", payload, "</iq>")
	return e.wait("answer of "+to, func(h heard) bool { return h.id == id })
}

// captured returns the shape of the stanza in that line of a capture.
func captured(t *testing.T, file string, line int) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	_, stanza, _ := strings.Cut(strings.Split(string(text), "\n")[line-1], "<")
	d := xml.NewDecoder(strings.NewReader("<" + stanza))
	tok, err := d.Token()
	must(t, err)
	shape, err := shapeOf(d, tok.(xml.StartElement))
	must(t, err)
	return shape
}

// words are the attributes whose values are words of the protocol.
var words = []string{
	"type", "status", "action", "recording_mode", "failure_reason", "should_retry", "key", "value", "hash", "node", "name",
}

// shapeOf returns a stanza without what differs from one to the next, what
// servers add, and the attributes of an address: those of Smack's presences have
// an id and a language.
func shapeOf(d *xml.Decoder, start xml.StartElement) (string, error) {
	var b strings.Builder
	name := start.Name.Local
	if space := start.Name.Space; space != "" && !strings.HasPrefix(space, "jabber:") {
		name = "{" + space + "}" + name
	}
	var attrs []string
	stanza := slices.Contains([]string{"presence", "iq", "message"}, name)
	for _, a := range start.Attr {
		switch {
		case a.Name.Local == "xmlns" || a.Name.Space == "xmlns" || stanza && a.Name.Local != "type":
		case slices.Contains(words, a.Name.Local):
			attrs = append(attrs, " "+a.Name.Local+"="+a.Value)
		default:
			attrs = append(attrs, " "+a.Name.Local+"=*")
		}
	}
	slices.Sort(attrs)
	b.WriteString("<" + name + strings.Join(attrs, "") + ">")
	for {
		tok, err := d.Token()
		switch tok := tok.(type) {
		case xml.StartElement:
			child, err := shapeOf(d, tok)
			if err != nil {
				return "", err
			}
			if !slices.Contains([]string{"urn:xmpp:occupant-id:0", "http://jabber.org/protocol/muc#user"}, tok.Name.Space) {
				b.WriteString(child)
			}
		case xml.CharData:
			if strings.TrimSpace(string(tok)) != "" {
				b.WriteString("…")
			}
		case xml.EndElement:
			return b.String() + "</>", nil
		default:
			if err == nil {
				continue
			}
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}
