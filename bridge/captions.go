package bridge

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteWebVTT writes turns as captions that say who speaks
// (https://www.w3.org/TR/webvtt1/, §4.2.2: voice spans). name is what to call a
// speaker; an empty one becomes the speaker's id. offset is added to all times,
// and what would begin before 0 is cut.
func WriteWebVTT(w io.Writer, turns []Segment, offset time.Duration, name func(speaker string) string) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "WEBVTT")
	for _, t := range turns {
		start, end := max(0, t.Start+offset), t.End+offset
		if end <= start {
			continue
		}
		n := vttText(name(t.Speaker))
		if n == "" {
			n = vttText(t.Speaker)
		}
		fmt.Fprintf(out, "\n%s --> %s\n<v %s>%s</v>\n", vttTime(start), vttTime(end), n, n)
	}
	return out.Flush()
}

func vttTime(d time.Duration) string {
	ms := d.Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
}

var vttEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// vttText makes a line of cue text of a name: no markup, no line end, and so no
// "-->" either.
func vttText(s string) string { return vttEscapes.Replace(strings.Join(strings.Fields(s), " ")) }

// WriteRTTM writes turns in the form of speaker diarization tools (NIST RT-09
// evaluation plan, appendix A), one line each. recording is the name of the
// recording. offset is added to all times, and what would begin before 0 is cut.
func WriteRTTM(w io.Writer, recording string, turns []Segment, offset time.Duration) error {
	out := bufio.NewWriter(w)
	for _, t := range turns {
		start, end := max(0, t.Start+offset), t.End+offset
		if end <= start {
			continue
		}
		fmt.Fprintf(out, "SPEAKER %s 1 %.3f %.3f <NA> <NA> %s <NA> <NA>\n",
			rttmWord(recording), start.Seconds(), (end - start).Seconds(), rttmWord(t.Speaker))
	}
	return out.Flush()
}

// rttmWord makes one field of s: fields end at a space.
func rttmWord(s string) string {
	if s = strings.Join(strings.Fields(s), "_"); s != "" {
		return s
	}
	return "<NA>"
}
