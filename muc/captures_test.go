package muc

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/golden"
)

// TestCaptures reads every stanza of the captures of real web clients, Jicofo and
// Jibri, and compares what usher makes of them with the golden file: what the
// decoder of presences gets out of them, and which are ignored, by their payload.
func TestCaptures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xml")
	more, err2 := filepath.Glob("testdata/real/*.xml")
	if err != nil || err2 != nil || len(files) == 0 || len(more) == 0 {
		t.Fatalf("no captures: %v, %v", err, err2)
	}
	var b strings.Builder
	for _, file := range append(files, more...) {
		fmt.Fprintf(&b, "%s\n", strings.TrimPrefix(file, "testdata/"))
		for _, s := range stanzasIn(t, file) {
			fmt.Fprintf(&b, "  %s\n", describe(t, s))
		}
	}
	golden.Compare(t, "testdata/captures.golden", b.String())
}

// captured is one stanza of a capture.
type captured struct {
	text string
	sent bool // by the client, else to it
	from string
	name xml.Name
	kind string   // its type
	of   xml.Name // of its first child
}

// describe is a stanza's line in the golden file.
func describe(t *testing.T, s captured) string {
	_, domain, nick := splitAddress(s.from)
	switch {
	case s.sent:
		return strings.TrimSpace("ignored: sent by the client: " + s.name.Local + " " + s.of.Local)
	case s.name.Local == "message" && s.from == testSite.BreakoutDomain:
		return describeBreakouts(t, s)
	case s.name.Local != "presence" || domain != testSite.MUC:
		return strings.Join(strings.Fields(fmt.Sprintf("ignored: %s %s %s of %s", s.name.Local, s.kind, s.of.Local, domain)), " ")
	}
	p := decode(t, s.text)
	switch p.Type {
	case "error":
		return fmt.Sprintf("%s refused %s", nick, p.condition())
	case "unavailable":
		return fmt.Sprintf("%s gone %s self=%v", nick, p.leftReason(), p.has(statusSelf))
	}
	o, doubts := testSite.occupant(nick, &p)
	return fmt.Sprintf("%s %s %s name=%q user=%q email=%q audio=%q video=%q screen=%q hand=%d self=%v doubts=%v jid=%s%s",
		o.Nick, o.Kind, o.Role, o.Name, o.UserID, o.Email, o.Audio, o.Video, o.Screen, o.HandRaised, p.has(statusSelf), doubts, o.JID, recordingOf(o, &p))
}

// stanzasIn reads a capture: one stanza a line, after a comment that says which
// way it went. What Jicofo's stream sent is read as the room passes it on.
func stanzasIn(t *testing.T, file string) (all []captured) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sent := false
	for line := range strings.Lines(string(text)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "<!--"):
			sent = strings.Contains(line, " OUT ") || strings.Contains(line, " sent by ")
			continue
		case line == "":
			continue
		}
		if line, ok := strings.CutPrefix(line, "RECV: "); ok {
			line = strings.Replace(line, " to='", " from='", 1)
			line = strings.Replace(line, "</presence>", "<x xmlns='http://jabber.org/protocol/muc#user'><item role='moderator' affiliation='owner' jid='focus@auth.meet.jitsi/focus'/></x></presence>", 1)
			all = append(all, readStanza(t, line, false))
			continue
		}
		all = append(all, readStanza(t, line, sent))
	}
	return all
}

func readStanza(t *testing.T, line string, sent bool) captured {
	t.Helper()
	s := captured{text: line, sent: sent}
	d := xml.NewDecoder(strings.NewReader(line))
	for depth := 0; ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return s
		}
		if err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			switch depth {
			case 0:
				s.name = tok.Name
				for _, a := range tok.Attr {
					switch a.Name.Local {
					case "from":
						s.from = a.Value
					case "type":
						s.kind = a.Value
					}
				}
			case 1:
				if s.of.Local == "" {
					s.of = tok.Name
				}
			}
			depth++
		case xml.EndElement:
			depth--
		}
	}
}

// recordingOf is what a presence says about recording.
