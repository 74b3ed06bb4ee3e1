package meeting

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestRecordingTables tries each input in each state, in all circumstances that
// actions look at, and compares where it leads with the tables of the guides.
func TestRecordingTables(t *testing.T) {
	compareTable(t, "../docs/recording.md", ModeFile, recordingTable)
	compareTable(t, "../docs/tracks.md", ModeTracks, trackTable)
}

func compareTable(t *testing.T, guide string, mode RecordingMode, table map[RecordingInputKind][len(recordingStates)]recordingAction) {
	t.Helper()
	documented := documentedTable(t, guide)
	for kind, row := range table {
		if len(documented[kind]) != len(recordingStates) {
			t.Errorf("%s has %d states for the input %q, want %d", guide, len(documented[kind]), kind, len(recordingStates))
			continue
		}
		for i, state := range recordingStates {
			if row[i] == nil {
				t.Errorf("nothing is said of %q in state %s", kind, state)
				continue
			}
			if got := leadsTo(mode, kind, state); got != documented[kind][i] {
				t.Errorf("%q in state %s leads to %q, %s says %q", kind, state, got, guide, documented[kind][i])
			}
		}
		delete(documented, kind)
	}
	for kind := range documented {
		t.Errorf("%s has an input %q, which does not exist", guide, kind)
	}
}

// documentedTable returns the cells by input.
func documentedTable(t *testing.T, guide string) map[RecordingInputKind][]string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[RecordingInputKind][]string{}
	inTable := false
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == "input":
			inTable = true
			for i, state := range recordingStates {
				if i+1 >= len(cells) || cells[i+1] != string(state) {
					t.Fatalf("columns of %s are %q, want %q", guide, cells[1:], recordingStates)
				}
			}
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(cells[0], "---"):
			rows[RecordingInputKind(cells[0])] = cells[1:]
		}
	}
	return rows
}

// leadsTo returns the states other than its own that a recording in the state may
// be in after the input, and whether the input may be refused.
func leadsTo(mode RecordingMode, kind RecordingInputKind, state RecordingState) string {
	reached := map[string]bool{}
	for _, in := range variants(kind) {
		for c := range circumstances {
			d, ok := circumstance(mode, c, state)
			if !ok {
				continue
			}
			id := d.m.Recordings[0].ID
			d.input(&d.m.Recordings[0], in)
			r, _ := d.m.AtHand(id)
			switch {
			case d.err != nil:
				reached["refused"] = true
			case r.State != state:
				reached[string(r.State)] = true
			}
		}
	}
	order := []string{"refused"}
	for _, s := range recordingStates {
		order = append(order, string(s))
	}
	names := slices.SortedFunc(maps.Keys(reached), func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	if len(names) == 0 {
		return "–"
	}
	return strings.Join(names, ", ")
}

// variants returns inputs of the kind with everything that actions tell apart.
func variants(kind RecordingInputKind) []RecordingInput {
	in := RecordingInput{Kind: kind, Part: RecordingPart{ID: "p1"}}
	switch kind {
	case RecordingStop:
		in.Reason = StopRequested
	case RecordingWaits:
		in.Reason = ReasonBusy
	case RecordingAccepted:
		in.JibriSession = "s1"
	case RecordingStored:
		in.Files = []RecordingFile{{Name: "new"}}
	case inputFocusOff:
		failed, byPerson := in, in
		failed.Failure, byPerson.Reason = FailRecorder, StopParticipant
		return []RecordingInput{in, failed, byPerson}
	case RecordingRefused:
		var all []RecordingInput
		for _, refusal := range []Refusal{RefusedBusy, RefusedNone, RefusedNotReady, RefusedExists, RefusedNotAllowed, RefusedBroken, RefusedSilent, RefusedInvalid} {
			in.Refusal = refusal
			all = append(all, in)
		}
		return all
	}
	return []RecordingInput{in}
}

// circumstances is how many combinations of ten inputs circumstance makes.
const circumstances = 1 << 10

// circumstance returns a meeting with one recording in the state; each bit of n
// is an input about them. ok is false for what cannot be in this state.
func circumstance(mode RecordingMode, n int, state RecordingState) (d *draft, ok bool) {
	bit := func(i int) bool { return n>>i&1 == 1 }
	named, human, recorder, failed, onPurpose := bit(0), bit(1), bit(2), bit(3), bit(4)
	filed, last, noQueue, doubted, began := bit(5), bit(6), bit(7), bit(8), bit(9)
	waiting := state.waiting()
	switch {
	case waiting && (failed || onPurpose || filed || began || doubted),
		state == RecordingStarting && (onPurpose || filed || began),
		(state == RecordingOn || state == RecordingProcessing || state == RecordingAvailable) && !began,
		state == RecordingOn && !named,
		state == RecordingAborted && (began || filed):
		if !mode.FromBridge() {
			return nil, false
		}
	}
	if mode.FromBridge() && (state == RecordingQueued || waiting && began || state == RecordingStarting && began ||
		(state == RecordingOn || state == RecordingProcessing || state == RecordingAvailable) && !began ||
		state == RecordingProcessing && doubted || state == RecordingAvailable && doubted) {
		return nil, false
	}
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	before := now.Add(-100 * time.Hour)
	r := Recording{RecordingStatus: RecordingStatus{ID: "rec_1", SessionID: "ses_1", State: state, RequestedAt: Time{before}}, Since: before, QueueUntil: before, NoQueue: noQueue, Attempts: 1}
	switch {
	case mode.FromBridge():
		r.Mode, r.Notice = mode, NoticeApp
		r.Parts = bridgeParts(state, named, recorder, doubted)
	case named:
		r.JibriSession = "s1"
	}
	if failed {
		r.Failure = FailRecorder
	}
	if onPurpose {
		r.Stop = StopRequested
	}
	if filed {
		r.Files = []RecordingFile{{Name: "old", StoredAt: now}}
	}
	if last {
		r.Attempts, r.MaxLength = maxAttempts, time.Hour
	}
	if doubted {
		r.Doubt = before
	}
	if began {
		r.StartedAt = Time{before}
	}
	m := Meeting{ID: "mtg_1", CreatedAt: before, Conference: Conference{Bridges: 1, Since: before}, Session: Session{SessionInfo: SessionInfo{ID: "ses_1"}, EmptySince: before}, Recordings: []Recording{r}}
	if human {
		m.Session.EmptySince = time.Time{}
		m.People = append(m.People, Participant{Person: Person{ID: "prt_1", Kind: KindHuman}, Connections: []Occupant{{Nick: "aa", Kind: KindHuman}}})
	}
	if recorder && !mode.FromBridge() {
		m.People = append(m.People, Participant{Person: Person{ID: "prt_2", Kind: KindRecorder}, Connections: []Occupant{{Nick: "r", Kind: KindRecorder, Recording: r.JibriSession}}})
	}
	return &draft{m: m, at: now}, true
}

// bridgeParts returns parts of a recording that they may have in the state: p1, and
// perhaps another one.
func bridgeParts(state RecordingState, none, stored, open bool) []RecordingPart {
	p1, p2 := RecordingPart{ID: "p1", State: PartClosed}, RecordingPart{ID: "p2", State: PartMissing}
	if open {
		p1.State = PartOpen
	}
	if stored {
		p2.State = PartStored
	}
	switch {
	case state == RecordingRequested || none && state != RecordingProcessing && state != RecordingAvailable && state != RecordingOn:
		return nil
	case none:
		return []RecordingPart{p1}
	}
	return []RecordingPart{p1, p2}
}

func TestDetailIsCutBetweenCharacters(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", maxDetail-1) + "é", strings.Repeat("x", maxDetail-3) + "🎥", strings.Repeat("é", maxDetail)} {
		got := shorten(text)
		if !utf8.ValidString(got) || len(got) > maxDetail || len(got) < maxDetail-3 {
			t.Errorf("%d bytes were cut to %d (valid: %v), want at most %d whole characters", len(text), len(got), utf8.ValidString(got), maxDetail)
		}
	}
}
