package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/meeting"
	"usher/storage"
	"usher/token"
)

// Limits of what a recorder's host reports.
const (
	maxHandOver     = 256 << 10 // bytes: some hundred files
	maxRecorderName = 100       // bytes
	maxName         = 255       // bytes, that of file systems
	maxFilePath     = 1024      // bytes, S3's limit for a key
)

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

// phases are those of a recording; [storage.PhaseCheck] is about none.
var phases = []storage.Phase{storage.PhaseClosed, storage.PhaseStored, storage.PhaseLost}

func newHandoverCount(reg prometheus.Registerer) *prometheus.CounterVec {
	count := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "usher_recording_callbacks_total", Help: "Calls of recorders' hosts about finished recordings. mismatch: metadata.json names another recording than the focus did, which counts.",
	}, []string{"phase", "result"})
	for _, phase := range phases {
		for _, result := range []string{"ok", "mismatch", "unknown", "deleted", "invalid", "unavailable"} {
			count.WithLabelValues(string(phase), result)
		}
	}
	count.WithLabelValues(string(storage.PhaseCheck), "ok")
	count.WithLabelValues("none", "unsigned")
	count.WithLabelValues("none", "invalid")
	return count
}

// handOver takes the report of the finalize hook of a Jibri on a finished recording:
// POST /internal/jibri/recordings, signed with the recorder's own secret
// ([token.SignCallback]). Calls may be repeated.
func (s *server) handOver(w http.ResponseWriter, r *http.Request) error {
	recorder := r.Header.Get(token.CallbackRecorder)
	// An unknown name is answered like a wrong secret, and takes as long.
	report, err := readReport(w, r, recorder, cmp.Or(s.RecorderKeys[recorder], rand.Text()))
	if p, is := errors.AsType[*Problem](err); is && p.Status == http.StatusUnauthorized {
		s.Refused(PartHandOver)
	}
	var rec meeting.Recording
	if err == nil && report.Phase != storage.PhaseCheck {
		rec, err = s.takeReport(r.Context(), recorder, report)
	}
	s.handovers.WithLabelValues(cmp.Or(string(report.Phase), "none"), reportResult(report, rec, err)).Inc()
	switch {
	case err != nil:
		return err
	case report.Phase == storage.PhaseCheck:
		writeJSON(w, http.StatusOK, storage.Answer{Usher: cmp.Or(s.Version, "unknown")})
	case report.Phase == storage.PhaseClosed:
		answer := s.namesOf(rec)
		if report.Attendance {
			answer.Attendance = s.attendanceFor(r.Context(), rec)
		}
		writeJSON(w, http.StatusOK, answer)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

// refusedReports are the results that are counted of calls that are not taken, by
// the status of the answer. The others are invalid.
var refusedReports = map[int]string{
	http.StatusUnauthorized: "unsigned", http.StatusNotFound: "unknown",
	http.StatusGone: "deleted", http.StatusServiceUnavailable: "unavailable",
}

// reportResult returns what came of a report, for the metric.
func reportResult(report storage.Report, rec meeting.Recording, err error) string {
	p, refused := errors.AsType[*Problem](err)
	switch {
	case refused:
		return cmp.Or(refusedReports[p.Status], "invalid")
	case report.Phase != storage.PhaseCheck && report.RecordingID != "" && report.RecordingID != rec.ID:
		return "mismatch"
	}
	return "ok"
}

// readReport returns the report of a call that was signed with the secret. Its
// error is a [Problem]; the report has no phase then unless that is a known one.
func readReport(w http.ResponseWriter, r *http.Request, recorder, secret string) (report storage.Report, err error) {
	body, err := ReadBody(http.MaxBytesReader(w, r.Body, maxHandOver))
	if err != nil {
		return report, err
	}
	err = token.VerifyCallback(secret, recorder, r.Header.Get(token.CallbackTimestamp), r.Header.Get(token.CallbackSignature), body, time.Now())
	switch {
	case errors.Is(err, token.ErrCallbackTime):
		return report, NewProblem(http.StatusUnauthorized, err.Error()).coded("recorder_clock")
	case err != nil:
		return report, NewProblem(http.StatusUnauthorized, err.Error()).coded("recorder_signature")
	}
	if json.Unmarshal(body, &report) != nil {
		return storage.Report{}, NewProblem(http.StatusUnprocessableEntity, "the body is no JSON of a hand-over")
	}
	if report.Phase == storage.PhaseCheck {
		return report, nil
	}
	problem := wrongHandOver(report)
	if !slices.Contains(phases, report.Phase) {
		report.Phase, problem = "", "there is no such phase"
	}
	if problem != "" {
		err = NewProblem(http.StatusUnprocessableEntity, problem)
	}
	return report, err
}

// takeReport applies a report and returns the recording it is about. Its error is
// a [Problem].
func (s *server) takeReport(ctx context.Context, recorder string, report storage.Report) (rec meeting.Recording, err error) {
	rec, err = s.recordingOf(ctx, report)
	if err == nil && !rec.Deleted.IsZero() {
		// Whatever the host has stored already stays there: the app learned that
		// all is gone before there was this.
		for _, f := range report.Files {
			s.Log.Warn("a file came after its recording was deleted", "recording_id", rec.ID, "storage", f.Storage, "bucket", f.Bucket, "file", f.Path)
		}
		return rec, NewProblem(http.StatusGone, "an app deleted the recording").coded("deleted")
	}
	if err == nil {
		err = s.applyReport(ctx, recorder, report, rec)
	}
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		return rec, NewProblem(http.StatusNotFound, "usher knows of no such recording")
	case err != nil:
		s.Log.Warn("a recorder's call has to wait", "request_id", requestID(ctx), "err", err)
		return rec, NewProblem(http.StatusServiceUnavailable, tryAgain)
	}
	s.Log.Info("recorder's call", "phase", report.Phase, "recorder", recorder, "recording_id", rec.ID, "jibri_session_id", report.JibriSession)
	return rec, nil
}

// namesOf returns what the files are to be named after.
func (s *server) namesOf(rec meeting.Recording) storage.Answer {
	began := cmp.Or(rec.StartedAt, rec.RequestedAt).Time
	a := storage.Answer{RecordingID: rec.ID, MeetingID: rec.MeetingID, Room: rec.Room, StartedAt: began}
	var err error
	if a.Destination, err = s.Service.Destination(rec.Destination); err != nil {
		s.Log.Error("the file goes to the site's own storage, because the app's cannot be read", "recording_id", rec.ID, "err", err)
	}
	return a
}

// attendanceFor returns who was in the session of a recording, nil where that cannot be
// said: no recording waits for it.
func (s *server) attendanceFor(ctx context.Context, rec meeting.Recording) json.RawMessage {
	a, err := s.Service.Attendance(ctx, rec.SessionID)
	text, _ := json.Marshal(a) // structs of text, numbers and times always encode
	if err == nil && len(text) > storage.MaxAttendance {
		err = fmt.Errorf("it has %d bytes", len(text))
	}
	if err != nil {
		s.Log.Warn("a recording gets no list of who was there", "recording_id", rec.ID, "session_id", rec.SessionID, "err", err)
		return nil
	}
	return text
}

// recordingOf returns the recording that a report is about. What the focus reported
// of Jibri's session is certain; metadata.json is not, and counts only where nothing
// else is known and nothing contradicts it.
func (s *server) recordingOf(ctx context.Context, report storage.Report) (meeting.Recording, error) {
	rec, err := s.Service.RecordingOf(ctx, report.JibriSession)
	if report.RecordingID == "" || report.RecordingID == rec.ID || err != nil && !errors.Is(err, meeting.ErrNotFound) {
		return rec, err
	}
	if err == nil {
		s.Log.Warn("metadata.json names another recording than the focus did",
			"recording_id", rec.ID, "claimed", report.RecordingID, "jibri_session_id", report.JibriSession)
		return rec, nil
	}
	rec, err = s.Service.Store.Recording(ctx, report.RecordingID)
	if err == nil && (rec.MeetingID != report.MeetingID || rec.JibriSession != "" || rec.Mode.FromBridge()) {
		err = meeting.ErrNotFound
	}
	return rec, err
}

func (s *server) applyReport(ctx context.Context, recorder string, report storage.Report, rec meeting.Recording) error {
	var input meeting.Input
	switch report.Phase {
	case storage.PhaseClosed:
		input = meeting.RecordingInput{Kind: meeting.RecordingClosed, Recording: rec, JibriSession: report.JibriSession, Recorder: recorder}
	case storage.PhaseStored:
		for i := range report.Files {
			report.Files[i].Recorder = recorder
			report.Files[i].Owner = s.Service.OwnerOf(rec, report.Files[i])
		}
		input = meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: rec, JibriSession: report.JibriSession, Recorder: recorder, Files: report.Files}
	default:
		// A recording that goes on with a second recorder does not fail by this.
		s.Log.Warn("a recorder has lost a file", "recording_id", rec.ID, "recorder", recorder, "detail", report.Detail)
		input = meeting.RecordingInput{Kind: meeting.RecordingLost, Recording: rec, Detail: report.Detail}
	}
	_, err := s.Service.Do(ctx, rec.MeetingID, input)
	return err
}

// wrongHandOver returns what is wrong with a report, "" if nothing is.
func wrongHandOver(report storage.Report) string {
	switch {
	case !storage.SessionName.MatchString(report.JibriSession):
		return "jibri_session_id is none"
	case len(report.MeetingID) > 64 || len(report.RecordingID) > 64:
		return "an id is too long"
	case len(report.Detail) > storage.MaxDetail:
		return "detail is too long"
	case report.Phase == storage.PhaseStored && len(report.Files) == 0:
		return "there are no files"
	case len(report.Files) > storage.MaxFiles:
		return "there are too many files"
	}
	for _, f := range report.Files {
		if problem := wrongFile(f); problem != "" {
			return problem
		}
	}
	return ""
}

// wrongFile returns what is wrong with a file of a report, "" if nothing is.
func wrongFile(f meeting.RecordingFile) string {
	switch {
	case f.Storage != meeting.StorageFile && f.Storage != meeting.StorageS3:
		return "storage must be file or s3"
	case wrongPath(f), f.Attendance != "" && wrongPath(meeting.RecordingFile{Storage: f.Storage, Path: f.Attendance}):
		return "path must be a plain relative path"
	case !isName(f.Name) || f.Dir != "" && !isName(f.Dir):
		return "a name is missing, too long, or not one name"
	case (f.Storage == meeting.StorageS3) != isName(f.Bucket):
		return "bucket must be the name of one, for s3 only"
	case f.Size <= 0 || f.Duration < 0:
		return "size and duration must be positive"
	case !sha256Form.MatchString(f.SHA256):
		return "sha256 must be 64 hexadecimal digits"
	}
	return ""
}

// wrongPath reports whether a file's path may lead elsewhere than to a file of
// its storage. An object's name may be untidy: hosts put any prefix in front.
func wrongPath(f meeting.RecordingFile) bool {
	if !isPlain(f.Path, maxFilePath) {
		return true
	}
	if f.Storage == meeting.StorageS3 {
		return slices.Contains(strings.Split(f.Path, "/"), "..")
	}
	return !fs.ValidPath(f.Path) || f.Path == "."
}

// isName reports whether s may be the name of something in a directory.
func isName(s string) bool {
	return isPlain(s, maxName) && !strings.Contains(s, "/") && s != "." && s != ".."
}

// isPlain reports whether s is text without control characters, not empty and
// not too long.
func isPlain(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
