package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

func (v *v1) registerAttendance() {
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "get-session-attendance", "GET /v1/sessions/{id}/attendance",
		"See who was in a session when: visits, time muted and on camera, breakout rooms"), v.attendance)
	table := operation(ScopeMeetingsRead, http.StatusOK, "get-session-attendance-csv", "GET /v1/sessions/{id}/attendance.csv",
		"See the same as a table: a row for each person, times in a cell as begin/end with semicolons between them")
	table.Responses = map[string]*huma.Response{"200": {Description: "The table", Content: map[string]*huma.MediaType{
		csvType: {Schema: &huma.Schema{Type: huma.TypeString}},
	}}}
	handle(v, table, v.attendanceTable)
}

// attendance is complete without who spoke: that may be on a storage which is away.
func (v *v1) attendance(ctx context.Context, in *ByID) (meeting.Attendance, error) {
	a, err := v.Service.Attendance(ctx, in.ID)
	if err != nil || v.Speakers == nil {
		return a, err
	}
	spoke, err := v.Speakers.Speakers(ctx, a.Session)
	if err != nil && !errors.Is(err, meeting.ErrNotFound) {
		v.Log.WarnContext(ctx, "cannot read who spoke in a session", "session_id", a.Session.ID, "err", err)
	}
	for _, s := range spoke {
		for i := range a.Attendees {
			if p := &a.Attendees[i]; p.ParticipantID == s.ParticipantID {
				p.SpeakingS, p.Turns = &s.SpeakingS, s.Turns
			}
		}
	}
	return a, nil
}

// csvType is the media type of a table (RFC 7111 section 5.1).
const csvType = "text/csv; charset=utf-8; header=present"

// table is an output of huma's.
type table struct {
	ContentType string `header:"Content-Type"`
	As          string `header:"Content-Disposition"`
	Body        []byte
}

func (v *v1) attendanceTable(ctx context.Context, in *ByID) (*table, error) {
	a, err := v.attendance(ctx, in)
	if err != nil {
		return nil, err
	}
	return &table{csvType, `attachment; filename="attendance-` + a.Session.ID + `.csv"`, attendanceCSV(a)}, nil
}

// attendanceCSV returns an attendance as CSV (RFC 4180): lines end with CR LF, and
// those with names of columns first.
func attendanceCSV(a meeting.Attendance) []byte {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	w.UseCRLF = true
	row := func(cells ...string) {
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		_ = w.Write(cells) // to memory
	}
	row("session_id", "participant_id", "kind", "role", "user_id", "name", "email", "external_id",
		"joined_at", "left_at", "left_reason", "present_s", "visits", "muted", "camera", "breakout_rooms", "speaking_s", "turns")
	for _, p := range a.Attendees {
		var rooms []string
		spoke, turns := "", ""
		if p.SpeakingS != nil {
			spoke, turns = strconv.FormatFloat(*p.SpeakingS, 'f', -1, 64), strconv.Itoa(p.Turns)
		}
		for _, r := range p.BreakoutRooms {
			rooms = append(rooms, spanText(r.Span)+" "+r.Name)
		}
		row(a.Session.ID, p.ParticipantID, string(p.Kind), string(p.Role), p.UserID, p.Name, p.Email, p.ExternalID,
			timeText(p.JoinedAt), timeText(p.LeftAt), string(p.LeftReason), strconv.FormatInt(p.PresentS, 10),
			spansText(p.Visits), spansText(p.Muted), spansText(p.Camera), strings.Join(rooms, "; "), spoke, turns)
	}
	w.Flush()
	return text.Bytes()
}

// harmless returns a cell that no spreadsheet takes for a formula
// (https://owasp.org/www-community/attacks/CSV_Injection).
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func spansText(list []meeting.Span) string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = spanText(s)
	}
	return strings.Join(texts, "; ")
}

// spanText is a time interval (ISO 8601), without its end if it goes on.
func spanText(s meeting.Span) string { return timeText(s.From) + "/" + timeText(s.To) }

// timeText is a time as in JSON, nothing for the zero one.
func timeText(t meeting.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
