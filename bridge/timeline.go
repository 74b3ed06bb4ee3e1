package bridge

import (
	"cmp"
	"slices"
	"time"
)

// turnPause is how long a speaker may pause and still have the turn, as long as
// nobody else begins.
const turnPause = 2 * time.Second

// Segment is a stretch in which somebody speaks without a noticeable pause.
// Times are since the beginning of the part, to 100 ms.
type Segment struct {
	Speaker    string
	Start, End time.Duration
}

// outside returns what of a segment is in none of the given times.
func (s Segment) outside(times []Segment) []Segment {
	left := []Segment{s}
	for _, t := range times {
		var next []Segment
		for _, s := range left {
			if s.Start < t.Start {
				next = append(next, Segment{s.Speaker, s.Start, min(s.End, t.Start)})
			}
			if s.End > t.End {
				next = append(next, Segment{s.Speaker, max(s.Start, t.End), s.End})
			}
		}
		left = next
	}
	return left
}

// Total is what one person spoke.
type Total struct {
	Speaker     string
	Speaking    time.Duration
	Turns       int
	Share       float64       // of what all speak, 0 to 1
	First, Last time.Duration // when they began to speak first, and stopped last
}

// Turns joins the segments of somebody who pauses for less than two seconds
// while nobody else begins to speak. Segments may be in any order and overlap;
// turns are in the order of their beginning.
func Turns(segments []Segment) []Segment {
	var turns []Segment
	for _, s := range inOrder(segments) {
		if n := len(turns); n > 0 {
			last := &turns[n-1]
			if last.Speaker == s.Speaker && s.Start-last.End < turnPause {
				last.End = max(last.End, s.End)
				continue
			}
		}
		turns = append(turns, s)
	}
	return turns
}

// Totals sums up who spoke how long, whoever spoke most first. What somebody
// says from two microphones at once counts once.
func Totals(segments []Segment) []Total {
	bySpeaker := map[string]*Total{}
	until := map[string]time.Duration{}
	for _, s := range inOrder(segments) {
		t := bySpeaker[s.Speaker]
		if t == nil {
			t = &Total{Speaker: s.Speaker, First: s.Start}
			bySpeaker[s.Speaker] = t
		}
		t.Speaking += max(0, s.End-max(s.Start, until[s.Speaker]))
		t.Last = max(t.Last, s.End)
		until[s.Speaker] = t.Last
	}
	for _, turn := range Turns(segments) {
		bySpeaker[turn.Speaker].Turns++
	}
	var all time.Duration
	totals := make([]Total, 0, len(bySpeaker))
	for _, t := range bySpeaker {
		all += t.Speaking
		totals = append(totals, *t)
	}
	for i := range totals {
		totals[i].Share = float64(totals[i].Speaking) / float64(max(all, 1))
	}
	slices.SortFunc(totals, func(a, b Total) int {
		return cmp.Or(cmp.Compare(b.Speaking, a.Speaking), cmp.Compare(a.Speaker, b.Speaker))
	})
	return totals
}

// inOrder returns the segments by their beginning.
func inOrder(segments []Segment) []Segment {
	return slices.SortedFunc(slices.Values(segments), func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Speaker, b.Speaker))
	})
}
