package sim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The steps of one real client, in the order in which it took them.
func TestWebPresenceIsWhatTheBrowserSends(t *testing.T) {
	const nick = "ef7b1097"
	steps := []struct {
		capture string
		change  func(*webPresence)
	}{
		{"join", func(*webPresence) {}},
		{"audio-mute", func(w *webPresence) { w.setSource("a0", source{Muted: true}) }},
		{"audio-unmute", func(w *webPresence) { w.setSource("a0", source{}) }},
		{"camera-off", func(w *webPresence) { w.setSource("v0", source{Muted: true}) }},
		{"camera-on", func(w *webPresence) { w.setSource("v0", source{}) }},
		{"raise-hand", func(w *webPresence) { w.raiseHand(time.UnixMilli(1795344050652)) }},
		{"lower-hand", (*webPresence).lowerHand},
		{"display-name-change", func(w *webPresence) { w.setName("Alice Renamed") }},
		{"display-name-empty", func(w *webPresence) { w.setName("") }},
		{"display-name-back", func(w *webPresence) { w.setName("Alice") }},
	}
	w := newWebPresence(nick, "Alice")
	for i, step := range steps {
		step.change(w)
		got := fmt.Sprintf("<presence xmlns='jabber:client' to='reflector-demo-1@muc.meet.jitsi/%s'>", nick)
		for _, e := range w.payload(i == 0) {
			text, err := xml.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			got += string(text)
		}
		got += "</presence>"
		want := readTestdata(t, "web-"+step.capture+".xml")
		if g, w := tokens(t, []byte(got)), tokens(t, want); !slices.Equal(g, w) {
			t.Errorf("%s:\n got %s\nwant %s", step.capture, strings.Join(g, " "), strings.Join(w, " "))
		}
	}
}

func TestScreenShareIsADesktopSource(t *testing.T) {
	w := newWebPresence("ef7b1097", "Alice")
	w.setSource("v1", source{VideoType: "desktop"})
	got := w.elements[len(w.elements)-1].Text
	if want := `{"ef7b1097-v1":{"muted":false,"videoType":"desktop"}}`; got != want {
		t.Errorf("SourceInfo = %s, want %s", got, want)
	}
}

func readTestdata(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tokens is XML less what makes no difference: quotes, prefixes and the order
// of attributes.
func tokens(t *testing.T, text []byte) []string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	var list []string
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			s := "<{" + tok.Name.Space + "}" + tok.Name.Local
			attrs := []string{}
			for _, a := range tok.Attr {
				if a.Name.Local != "xmlns" {
					attrs = append(attrs, " "+a.Name.Local+"="+a.Value)
				}
			}
			slices.Sort(attrs)
			list = append(list, s+strings.Join(attrs, "")+">")
		case xml.EndElement:
			list = append(list, "</>")
		case xml.CharData:
			if s := strings.TrimSpace(string(tok)); s != "" {
				list = append(list, s)
			}
		}
	}
}
