package bridge

import (
	"reflect"
	"testing"
)

func level(n integer) *integer { return &n }

// TestDecode reads messages as a real JVB of August 2026 sent them, and some
// that it might.
func TestDecode(t *testing.T) {
	started := message{Event: "start"}
	started.Start.Tag, started.Start.Format.Encoding, started.Start.Custom.Endpoint = "71b0376a-a0", "opus", "71b0376a"
	for text, want := range map[string]message{
		`{"event":"info","application":"jitsi-videobridge","version":"2.3.SNAPSHOT"}`: {Event: "info", Version: "2.3.SNAPSHOT"},
		`{"event":"start","sequenceNumber":"1","start":{"tag":"71b0376a-a0","mediaFormat":{"encoding":"opus","sampleRate":48000,"channels":2,
		  "parameters":{"useinbandfec":"1","minptime":"10"}},"customParameters":{"endpointId":"71b0376a"}},"event":"start"}`: started,
		`{"event":"media","sequenceNumber":"2","media":{"tag":"71b0376a-a0","chunk":"7955","timestamp":"623706","payload":"+P/+","audioLevel":20,"vad":true},"event":"media"}`: {
			Event: "media", Media: media{"71b0376a-a0", 623706, []byte{0xf8, 0xff, 0xfe}, level(20)},
		},
		`{"event":"ping","id":1,"event":"ping"}`:               {Event: "ping", ID: 1},
		`{"event":"SessionEndEvent","event":"session-end"}`:    {Event: "session-end"}, // the last one is right
		`{"event":"ping","id":"7"}`:                            {Event: "ping", ID: 7},
		`{"event":"media","media":{"timestamp":-5,"chunk":7}}`: {Event: "media", Media: media{Timestamp: -5}},
		`{"event":"media","media":{"audioLevel":null}}`:        {Event: "media"},
		`{"event":"later","what":{"is":[1,2]}}`:                {Event: "later"},
	} {
		if got, err := decode([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decode(%s): got %+v and %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		``, `[]`, `{`, `{}`, `"media"`, `{"event":1}`, `{"event":"media","media":[]}`,
		`{"event":"media","media":{"payload":"not base64!"}}`,
		`{"event":"media","media":{"timestamp":"99999999999999999999"}}`,
		`{"event":"media","media":{"timestamp":1.5}}`, `{"event":"media","media":{"timestamp":"}}`, `{"event":"media","media":{"timestamp":""}}`,
	} {
		if got, err := decode([]byte(text)); err == nil {
			t.Errorf("decode(%s): got %+v, want an error", text, got)
		}
	}
}

func TestPong(t *testing.T) {
	if got, want := string(pong(3)), `{"event":"pong","id":3}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRedPrimary(t *testing.T) {
	for payload, want := range map[string]string{
		"\x6fnew":                    "new", // only the primary block
		"\xef\x00\x0c\x03\x6foldnew": "new", // one older block
		"\xef\x00\x18\x02\xef\x00\x0c\x03\x6fo1o22new": "new", // two
		"\xef\x00\x0c\x03\x6fold":                      "",    // nothing left for the primary
		"\xef\x00\x0c\xff\x6fold":                      "",
		"\xef\x00":                                     "",
		"":                                             "",
		"\x6f":                                         "",
	} {
		if got := string(redPrimary([]byte(payload))); got != want {
			t.Errorf("redPrimary(%q): got %q, want %q", payload, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"event":"media","sequenceNumber":"2","media":{"tag":"a-a0","timestamp":"623706","payload":"+P/+","audioLevel":20},"event":"media"}`))
	f.Add([]byte(`{"event":"start","start":{"tag":"a","mediaFormat":{"encoding":"red"},"customParameters":{"endpointId":"a"}}}`))
	f.Add([]byte(`{"event":"ping","id":"1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := decode(text)
		if err != nil && !reflect.DeepEqual(m, message{}) {
			t.Errorf("got %+v with an error, want nothing", m)
		}
		if err == nil && m.Event == "" {
			t.Error("got a message without an event")
		}
	})
}
