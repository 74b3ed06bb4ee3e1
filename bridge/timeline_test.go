package bridge

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestSpeech(t *testing.T) {
	for _, c := range []struct {
		what string
		loud [][2]samples // position and length, in ms
		want []Segment
	}{
		{"nothing", nil, []Segment{}},
		{"a click", [][2]samples{{1000, 20}}, []Segment{}},
		{"a click over a slot's end", [][2]samples{{1090, 20}}, []Segment{{"a", 1000 * ms, 1200 * ms}}},
		{"a word", [][2]samples{{1000, 100}, {1100, 100}}, []Segment{{"a", 1000 * ms, 1200 * ms}}},
		{"a short pause", [][2]samples{{1000, 200}, {1500, 200}}, []Segment{{"a", 1000 * ms, 1700 * ms}}},
		{"a pause", [][2]samples{{1000, 200}, {1600, 200}}, []Segment{{"a", 1000 * ms, 1200 * ms}, {"a", 1600 * ms, 1800 * ms}}},
		{"packets of two microphones", [][2]samples{{1100, 200}, {1000, 200}}, []Segment{{"a", 1100 * ms, 1300 * ms}}},
		{"before the beginning", [][2]samples{{-500, 200}}, []Segment{}},
		{"long packets", [][2]samples{{1000, 120}, {1120, 120}}, []Segment{{"a", 1000 * ms, 1300 * ms}}},
	} {
		var s speech
		for _, l := range c.loud {
			s.add(l[0]*millisecond, l[1]*millisecond)
		}
		if got := s.segments("a"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func TestSpeechIsBounded(t *testing.T) {
	var s speech
	for i := range samples(maxSpans + 100) {
		s.add(i*second, 500*millisecond)
	}
	if len(s.spans) != maxSpans || !s.full {
		t.Errorf("got %d spans, full %v, want %d and true", len(s.spans), s.full, maxSpans)
	}
}

func TestLoud(t *testing.T) {
	for _, c := range []struct {
		level *integer
		size  int
		want  bool
	}{
		{level(0), 10, true}, {level(44), 10, true}, {level(45), 100, false}, {level(127), 100, false}, {level(-1), 100, false},
		{nil, 76, false}, {nil, 77, true},
	} {
		if got := loud(c.level, make([]byte, c.size), 20*millisecond); got != c.want {
			t.Errorf("level %v, %d bytes: got %v, want %v", c.level, c.size, got, c.want)
		}
	}
}

// talk has somebody who pauses, somebody who interrupts, and two who speak at
// once.
var talk = []Segment{
	{"ben", 5000 * ms, 6000 * ms},
	{"ann", 1000 * ms, 2000 * ms},
	{"ann", 3500 * ms, 4000 * ms}, // 1.5 s later: the same turn
	{"ben", 8000 * ms, 9000 * ms}, // 2 s later: another one
	{"ann", 8500 * ms, 9500 * ms},
	{"ben", 9200 * ms, 9700 * ms}, // after ann began: another one
}

func TestTurns(t *testing.T) {
	want := []Segment{
		{"ann", 1000 * ms, 4000 * ms}, {"ben", 5000 * ms, 6000 * ms}, {"ben", 8000 * ms, 9000 * ms},
		{"ann", 8500 * ms, 9500 * ms}, {"ben", 9200 * ms, 9700 * ms},
	}
	if got := Turns(talk); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Turns(nil); got != nil {
		t.Errorf("got %v of nothing", got)
	}
}

func TestTotals(t *testing.T) {
	want := []Total{
		{Speaker: "ann", Speaking: 2500 * ms, Turns: 2, Share: 0.5, First: 1000 * ms, Last: 9500 * ms},
		{Speaker: "ben", Speaking: 2500 * ms, Turns: 3, Share: 0.5, First: 5000 * ms, Last: 9700 * ms},
	}
	if got := Totals(talk); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	twice := []Segment{{"ann", 0, 1000 * ms}, {"ann", 200 * ms, 500 * ms}, {"ann", 800 * ms, 1200 * ms}}
	if got := Totals(twice); len(got) != 1 || got[0].Speaking != 1200*ms || got[0].Share != 1 {
		t.Errorf("two microphones: got %+v, want 1.2 s once", got)
	}
	if got := Totals(nil); len(got) != 0 {
		t.Errorf("got %v of nothing", got)
	}
}

func TestWebVTT(t *testing.T) {
	names := map[string]string{"a": "Ann <& Co>\n-->", "b": "  "}
	turns := []Segment{{"a", 500 * ms, 2250 * ms}, {"b", 3_723_004 * ms, 3_724_000 * ms}, {"a", 0, 200 * ms}}
	var out strings.Builder
	if err := WriteWebVTT(&out, turns, -1000*ms, func(s string) string { return names[s] }); err != nil {
		t.Fatal(err)
	}
	want := "WEBVTT\n\n" +
		"00:00:00.000 --> 00:00:01.250\n<v Ann &lt;&amp; Co&gt; --&gt;>Ann &lt;&amp; Co&gt; --&gt;</v>\n\n" +
		"01:02:02.004 --> 01:02:03.000\n<v b>b</v>\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRTTM(t *testing.T) {
	turns := []Segment{{"prt_1", 500 * ms, 2250 * ms}, {"a b\nc", 3000 * ms, 3100 * ms}, {"", 4000 * ms, 5000 * ms}}
	var out strings.Builder
	if err := WriteRTTM(&out, "rec 1", turns, 100*ms); err != nil {
		t.Fatal(err)
	}
	want := "SPEAKER rec_1 1 0.600 1.750 <NA> <NA> prt_1 <NA> <NA>\n" +
		"SPEAKER rec_1 1 3.100 0.100 <NA> <NA> a_b_c <NA> <NA>\n" +
		"SPEAKER rec_1 1 4.100 1.000 <NA> <NA> <NA> <NA> <NA>\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOutside(t *testing.T) {
	times := []Segment{{"", 2 * time.Second, 4 * time.Second}, {"", 6 * time.Second, 7 * time.Second}}
	for _, c := range []struct {
		of   Segment
		want []Segment
	}{
		{Segment{"a", 0, 2 * time.Second}, []Segment{{"a", 0, 2 * time.Second}}},
		{Segment{"a", 2 * time.Second, 4 * time.Second}, nil},
		{Segment{"a", time.Second, 3 * time.Second}, []Segment{{"a", time.Second, 2 * time.Second}}},
		{Segment{"a", 3 * time.Second, 9 * time.Second}, []Segment{{"a", 4 * time.Second, 6 * time.Second}, {"a", 7 * time.Second, 9 * time.Second}}},
		{Segment{"a", 8 * time.Second, 9 * time.Second}, []Segment{{"a", 8 * time.Second, 9 * time.Second}}},
	} {
		if got := c.of.outside(times); !reflect.DeepEqual(got, c.want) {
			t.Errorf("of %v: got %v, want %v", c.of, got, c.want)
		}
	}
}
