package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
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
	"usher/meeting/service"
	"usher/storage"
	"usher/token"
)

// Limits of what a recorder's host says.
const (
	maxHandOver     = 256 << 10 // bytes: some hundred files
	maxFiles        = 100       // of one call
	maxRecorderName = 100       // bytes
	maxName         = 255       // bytes, that of file systems
	maxFilePath     = 1024      // bytes, S3's limit for a key
	maxLostDetail   = 2000      // bytes
)

var (
	sessionForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)
	sha256Form  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// handovers takes what the finalize hook of a Jibri says of a finished
// recording: POST /internal/jibri/recordings, signed with the recorder's own
// secret ([token.SignCallback]). Calls may be repeated.
type handovers struct {
	svc     *service.Service
	secrets map[string]string // by recorder
	nobody  string            // stands for the secret of a recorder that there is not
	count   *prometheus.CounterVec
	version string
	log     *slog.Logger
}

func newHandovers(cfg Config) *handovers {
	return &handovers{cfg.Service, cfg.RecorderKeys, rand.Text(), newHandoverCount(cfg.Metrics), cfg.Version, cfg.Log}
}

func newHandoverCount(reg prometheus.Registerer) *prometheus.CounterVec {
	count := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "usher_recording_callbacks_total", Help: "Calls of recorders' hosts about finished recordings. mismatch: metadata.json names another recording than the focus did, which counts.",
	}, []string{"phase", "result"})
	for _, phase := range []storage.Phase{storage.PhaseClosed, storage.PhaseStored, storage.PhaseLost} {
		for _, result := range []string{"ok", "mismatch", "unknown", "deleted", "invalid", "unavailable"} {
			count.WithLabelValues(string(phase), result)
		}
	}
	count.WithLabelValues(string(storage.PhaseCheck), "ok")
	count.WithLabelValues("none", "unsigned")
	count.WithLabelValues("none", "invalid")
	return count
}

func (h *handovers) serve(w http.ResponseWriter, r *http.Request) error {
	recorder := r.Header.Get(token.CallbackRecorder)
	// An unknown name is answered like a wrong secret, and takes as long.
	secret := cmp.Or(h.secrets[recorder], h.nobody)
	body, err := signedBody(w, r, recorder, secret)
	if p := new(Problem); errors.As(err, &p) {
		result := "invalid"
		if p.Status == http.StatusUnauthorized {
			result = "unsigned"
		}
		return h.refuse("none", result, p)
	}
	var said storage.Report
	if err := json.Unmarshal(body, &said); err != nil {
		return h.refuse("none", "invalid", NewProblem(http.StatusUnprocessableEntity, "the body is no JSON of a hand-over"))
	}
	phase := string(said.Phase)
	switch said.Phase {
	case storage.PhaseClosed, storage.PhaseStored, storage.PhaseLost:
	case storage.PhaseCheck:
		h.count.WithLabelValues(phase, "ok").Inc()
		writeJSON(w, http.StatusOK, storage.Answer{Usher: cmp.Or(h.version, "unknown")})
		return nil
	default:
		return h.refuse("none", "invalid", NewProblem(http.StatusUnprocessableEntity, "there is no such phase"))
	}
	if problem := wrongHandOver(said); problem != "" {
		return h.refuse(phase, "invalid", NewProblem(http.StatusUnprocessableEntity, problem))
	}
	rec, result, err := h.find(r.Context(), said)
	if err == nil && !rec.Deleted.IsZero() {
		// Whatever the host has stored already stays there: the app learned that
		// all is gone before there was this.
		for _, f := range said.Files {
			h.log.Warn("a file came after its recording was deleted", "recording_id", rec.ID, "storage", f.Storage, "bucket", f.Bucket, "file", f.Path)
		}
		p := NewProblem(http.StatusGone, "an app deleted the recording")
		p.Code = "deleted"
		return h.refuse(phase, "deleted", p)
	}
	if err == nil {
		err = h.apply(r.Context(), recorder, said, rec)
	}
	switch {
	case errors.Is(err, meeting.ErrNotFound):
		return h.refuse(phase, "unknown", NewProblem(http.StatusNotFound, "usher knows of no such recording"))
	case err != nil:
		h.log.Warn("a recorder's call has to wait", "request_id", requestID(r.Context()), "err", err)
		return h.refuse(phase, "unavailable", NewProblem(http.StatusServiceUnavailable, "this cannot be done right now, try again"))
	}
	h.count.WithLabelValues(phase, result).Inc()
	h.log.Info("recorder's call", "phase", phase, "recorder", recorder, "recording_id", rec.ID, "jibri_session_id", said.JibriSession)
	if said.Phase != storage.PhaseClosed {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	writeJSON(w, http.StatusOK, h.answer(rec))
	return nil
}

// signedBody returns the body of a call that was signed with the secret. Its error
// is a [Problem].
func signedBody(w http.ResponseWriter, r *http.Request, recorder, secret string) ([]byte, error) {
	body, err := ReadBody(http.MaxBytesReader(w, r.Body, maxHandOver))
	if err != nil {
		return nil, err
	}
	err = token.VerifyCallback(secret, recorder, r.Header.Get(token.CallbackTimestamp), r.Header.Get(token.CallbackSignature), body, time.Now())
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, token.ErrCallbackTime):
		return nil, NewProblem(http.StatusUnauthorized, err.Error()).coded("recorder_clock")
	}
	return nil, NewProblem(http.StatusUnauthorized, err.Error()).coded("recorder_signature")
}

func (h *handovers) refuse(phase, result string, p *Problem) error {
	h.count.WithLabelValues(phase, result).Inc()
	return p
}

// answer says what the files are to be named after.
func (h *handovers) answer(rec meeting.Recording) storage.Answer {
	began := cmp.Or(rec.StartedAt, rec.RequestedAt).Time
	a := storage.Answer{RecordingID: rec.ID, MeetingID: rec.MeetingID, Room: rec.Room, StartedAt: began}
	var err error
	if a.Destination, err = h.svc.Destination(rec.Destination); err != nil {
		h.log.Error("the file goes to the site's own storage, because the app's cannot be read", "recording_id", rec.ID, "err", err)
	}
	return a
}

// find returns the recording that is spoken of. What the focus said of Jibri's
// session is sure; metadata.json is not, and counts only where nothing else is
// known and nothing contradicts it.
func (h *handovers) find(ctx context.Context, said storage.Report) (rec meeting.Recording, result string, err error) {
	rec, err = h.svc.RecordingOf(ctx, said.JibriSession)
	switch {
	case err == nil && said.RecordingID != "" && said.RecordingID != rec.ID:
		h.log.Warn("metadata.json names another recording than the focus did",
			"recording_id", rec.ID, "claimed", said.RecordingID, "jibri_session_id", said.JibriSession)
		return rec, "mismatch", nil
	case err == nil, !errors.Is(err, meeting.ErrNotFound):
		return rec, "ok", err
	case said.RecordingID == "":
		return meeting.Recording{}, "", meeting.ErrNotFound
	}
	rec, err = h.svc.Store.Recording(ctx, said.RecordingID)
	if err == nil && (rec.MeetingID != said.MeetingID || rec.JibriSession != "") {
		err = meeting.ErrNotFound
	}
	return rec, "ok", err
}

func (h *handovers) apply(ctx context.Context, recorder string, said storage.Report, rec meeting.Recording) error {
	var input meeting.Input
	switch said.Phase {
	case storage.PhaseClosed:
		input = meeting.RecordingInput{Kind: meeting.RecordingClosed, Recording: rec, JibriSession: said.JibriSession, Recorder: recorder}
	case storage.PhaseStored:
		for i := range said.Files {
			said.Files[i].Recorder = recorder
			said.Files[i].Owner = h.svc.OwnerOf(rec, said.Files[i])
		}
		input = meeting.RecordingInput{Kind: meeting.RecordingStored, Recording: rec, JibriSession: said.JibriSession, Recorder: recorder, Files: said.Files}
	default:
		// A recording that goes on with a second recorder does not fail by this.
		h.log.Warn("a recorder has lost a file", "recording_id", rec.ID, "recorder", recorder, "detail", said.Detail)
		input = meeting.RecordingInput{Kind: meeting.RecordingLost, Recording: rec, Detail: said.Detail}
	}
	_, err := h.svc.Do(ctx, rec.MeetingID, input)
	return err
}

// wrongHandOver says what is wrong with a call, "" if nothing is.
func wrongHandOver(said storage.Report) string {
	switch {
	case !sessionForm.MatchString(said.JibriSession):
		return "jibri_session_id is none"
	case len(said.MeetingID) > 64 || len(said.RecordingID) > 64:
		return "an id is too long"
	case len(said.Detail) > maxLostDetail:
		return "detail is too long"
	case said.Phase == storage.PhaseStored && len(said.Files) == 0:
		return "there are no files"
	case len(said.Files) > maxFiles:
		return "there are too many files"
	}
	for _, f := range said.Files {
		if problem := wrongFile(f); problem != "" {
			return problem
		}
	}
	return ""
}

// wrongFile says what is wrong with a file of a call, "" if nothing is.
func wrongFile(f meeting.RecordingFile) string {
	switch {
	case f.Storage != meeting.StorageFile && f.Storage != meeting.StorageS3:
		return "storage must be file or s3"
	case wrongPath(f):
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
