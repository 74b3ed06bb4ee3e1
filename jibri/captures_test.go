package jibri_test

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"usher/internal/golden"
)

// TestCaptures hands every stanza that a real Jibri sent to usher's view of the
// recorders, as the brewery passes presences on, and compares what usher then
// knows with the golden file. Jibri's answers and reports go to Jicofo alone.
func TestCaptures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, selfIn)
		var b strings.Builder
		for _, file := range []string{"jibri-brewery-presence.xml", "jibri-iqs.xml"} {
			fmt.Fprintln(&b, file)
			text, err := os.ReadFile("testdata/real/" + file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				stanza := strings.TrimPrefix(strings.TrimSpace(line), "RECV: ")
				var head struct {
					XMLName xml.Name
					To      string `xml:"to,attr"`
					Status  struct {
						Status string `xml:"status,attr"`
					} `xml:"http://jitsi.org/protocol/jibri jibri"`
				}
				if err := xml.Unmarshal([]byte(stanza), &head); err != nil {
					t.Fatalf("%v in %s", err, stanza)
				}
				if head.XMLName.Local != "presence" {
					fmt.Fprintf(&b, "  ignored: %s %s to %s\n", head.XMLName.Local, head.Status.Status, head.To)
					continue
				}
				d.present(strings.Replace(stanza, " to='", " from='", 1))
				fmt.Fprintf(&b, "  %s\n", d.statuses())
			}
		}
		golden.Compare(t, "testdata/real/captures.golden", b.String())
	})
}
