package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"usher/meeting"
)

// committedEvent is an event of the log in Redis.
type committedEvent struct {
	event
	text string
	at   time.Time // when Redis ran the commit
}

// arrival is an event that a receiver has accepted.
type arrival struct {
	event
	text string // without gap
	gap  bool
	at   time.Time
}

// lossWindow is a time whose commits the run itself has taken from Redis.
type lossWindow struct{ from, to time.Time }

// ledger is what a run has seen: what usher committed, what apps were sent, and
// who is where at the end, by usher's word and in truth.
type ledger struct {
	committed []committedEvent
	losses    []lossWindow
	doubt     time.Time                  // since when usher cannot know whether Redis has lost something; zero: it can
	arrived   map[string][]arrival       // by receiver, in the order of arrival
	inside    map[string]map[string]bool // nicks by meeting: the simulator's word
	listed    map[string]map[string]bool // and the API's

	recordings map[string]meeting.RecordingState // by id: the API's word
}

// verdict is what is wrong with a ledger.
type verdict struct {
	events, lost, reordered, phantom, announced int

	examples []string
}

// maxExamples is how many faults a verdict describes; one is often enough.
const maxExamples = 20

func (v *verdict) example(format string, args ...any) {
	if len(v.examples) < maxExamples {
		v.examples = append(v.examples, fmt.Sprintf(format, args...))
	}
}

func (v *verdict) ok() bool { return v.lost+v.reordered+v.phantom == 0 }

// check compares all that a ledger holds.
func (l *ledger) check() verdict {
	v := verdict{events: len(l.committed)}
	committed := map[string]committedEvent{}
	for _, e := range l.committed {
		if before, ok := committed[e.ID]; ok && before.text != e.text {
			v.phantom++
			v.example("%s was committed twice, as %s and as %s", e.ID, before.text, e.text)
		}
		committed[e.ID] = e
	}
	for _, name := range slices.Sorted(maps.Keys(l.arrived)) {
		l.checkReceiver(&v, name, committed)
	}
	l.checkPeople(&v, "the API", l.listed, nil)
	return v
}

// checkReceiver compares what a receiver got with what was committed, and whom
// it must believe to be inside with who is.
func (l *ledger) checkReceiver(v *verdict, name string, committed map[string]committedEvent) {
	first := map[string]arrival{}
	last := map[string]arrival{} // by meeting
	previous := l.previous()
	lastGap := map[string]int64{}
	for _, a := range l.arrived[name] {
		if a.gap {
			lastGap[a.MeetingID] = max(lastGap[a.MeetingID], a.Seq)
			l.checkGap(v, name, a)
		}
		source, known := committed[a.ID]
		before, again := first[a.ID]
		checkValue(v, name, a, before.text, source.text)
		if again {
			continue
		}
		first[a.ID] = a
		newest := last[a.MeetingID]
		last[a.MeetingID] = a
		switch {
		case a.Seq <= newest.Seq:
			v.reordered++
			v.example("%s got seq %d of %s (%s) after seq %d (%s)", name, a.Seq, a.MeetingID, a.ID, newest.Seq, newest.ID)
		case a.gap || !known || newest.Seq < previous[a.ID]: // what is between is lost, and counted below
		case a.Seq != previous[a.ID]+1:
			v.phantom++
			v.example("%s got seq %d of %s after %d without gap, and nothing between was committed", name, a.Seq, a.MeetingID, previous[a.ID])
		}
	}
	l.checkMissing(v, name, first, lastGap)
	inside, unsure := replay(l.arrived[name])
	l.checkPeople(v, name, inside, unsure)
	l.checkRecordings(v, name)
}

// checkGap looks whether anything can be missing where an event says so.
func (l *ledger) checkGap(v *verdict, name string, a arrival) {
	if l.doubt.IsZero() || a.at.Before(l.doubt) {
		v.phantom++
		v.example("%s got %s seq %d of %s with gap, and nothing is missing", name, a.ID, a.Seq, a.MeetingID)
	}
}

// checkValue compares an event with what came of it before and with what was
// committed of it; empty: nothing.
func checkValue(v *verdict, name string, a arrival, before, committed string) {
	switch {
	case before != "" && before != a.text, committed != "" && !sameJSON(committed, a.text):
		v.phantom++
		v.example("%s got %s with two values: %s and %s%s", name, a.ID, a.text, before, committed)
	case before == "" && committed == "":
		v.phantom++
		v.example("%s got %s, which was never committed", name, a.text)
	}
}

// checkMissing looks for what was committed and never came. What the run itself
// has taken from Redis is announced if a later event says gap.
func (l *ledger) checkMissing(v *verdict, name string, first map[string]arrival, lastGap map[string]int64) {
	for _, e := range l.committed {
		if _, ok := first[e.ID]; ok {
			continue
		}
		if l.taken(e.at) && lastGap[e.MeetingID] > e.Seq {
			v.announced++
			continue
		}
		v.lost++
		v.example("%s never got %s seq %d of %s, committed %s, and gap was said up to %d", name, e.Type, e.Seq, e.MeetingID,
			e.at.Format(time.TimeOnly+".000"), lastGap[e.MeetingID])
	}
}

// previous returns, by id, the seq of the meeting's event that was committed
// before an event; 0: none.
func (l *ledger) previous() map[string]int64 {
	before, newest := map[string]int64{}, map[string]int64{}
	for _, e := range l.committed {
		before[e.ID], newest[e.MeetingID] = newest[e.MeetingID], e.Seq
	}
	return before
}

// taken reports whether the run itself has taken a commit of that time from Redis.
func (l *ledger) taken(at time.Time) bool {
	return slices.ContainsFunc(l.losses, func(w lossWindow) bool { return !at.Before(w.from) && !at.After(w.to) })
}

// replay returns whom an app believes to be inside that goes by first arrivals,
// and of whom it does not know after a gap, unless it reads the meeting anew.
func replay(arrivals []arrival) (inside, unsure map[string]map[string]bool) {
	inside, unsure = map[string]map[string]bool{}, map[string]map[string]bool{}
	seen := map[string]bool{}
	nicks := map[string]string{} // by the participant's id
	for _, a := range arrivals {
		if seen[a.ID] {
			continue
		}
		seen[a.ID] = true
		if inside[a.MeetingID] == nil {
			inside[a.MeetingID], unsure[a.MeetingID] = map[string]bool{}, map[string]bool{}
		}
		in := inside[a.MeetingID]
		if a.gap {
			maps.Copy(unsure[a.MeetingID], in)
		}
		p := a.Data.Participant
		switch {
		case p.Kind != "human":
		case a.Type == "participant.joined":
			nicks[p.ID] = p.Endpoint
			in[p.Endpoint] = true
		case a.Type == "participant.left":
			delete(in, nicks[p.ID])
		}
	}
	return inside, unsure
}

// checkPeople compares somebody's word on who is inside with the truth. Of
// people of whom they are unsure they may not know that they have left.
func (l *ledger) checkPeople(v *verdict, who string, word, unsure map[string]map[string]bool) {
	for _, id := range slices.Sorted(maps.Keys(l.inside)) {
		for nick := range l.inside[id] {
			if !word[id][nick] {
				v.lost++
				v.example("%s is in %s, and %s does not know", nick, id, who)
			}
		}
		for nick := range word[id] {
			if !l.inside[id][nick] && !unsure[id][nick] {
				v.phantom++
				v.example("%s has left %s, and %s does not know", nick, id, who)
			}
		}
	}
}

// sameJSON reports whether two texts hold the same JSON value.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil &&
		fmt.Sprint(x) == fmt.Sprint(y) // maps print in the order of their keys
}

// withoutGap takes the last field of a body out if it says gap.
func withoutGap(body string) (text string, gap bool) {
	text, gap = strings.CutSuffix(body, `,"gap":true}`)
	if gap {
		text += "}"
	}
	return text, gap
}
