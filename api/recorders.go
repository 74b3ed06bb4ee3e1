package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"usher/meeting"
)

// maxReport, in bytes, is far more than a Jibri has to say of itself.
const maxReport = 64 << 10

// Recorders knows the site's Jibris and the line before them.
type Recorders interface {
	Recorders() []meeting.Recorder
	// Watching reports whether all of them are seen, and why not.
	Watching() (ok bool, problem string)
	// Queue returns the recordings that wait, the next one first.
	Queue() []meeting.Recording
	// Report takes what a Jibri says of itself.
	Report(name string, busy, healthy bool)
}

// noRecorders is a site without any.
type noRecorders struct{}

func (noRecorders) Recorders() []meeting.Recorder { return nil }
func (noRecorders) Watching() (bool, string)      { return false, "not configured" }
func (noRecorders) Queue() []meeting.Recording    { return nil }
func (noRecorders) Report(string, bool, bool)     {}

// Recorder is a Jibri as apps see it.
type Recorder struct {
	Name   string       `json:"name" doc:"Jibri's instance id"`
	Status string       `json:"status" enum:"idle,busy,unhealthy,gone"`
	Since  meeting.Time `json:"since" doc:"Of the status"`
	Source string       `json:"source" enum:"brewery,webhook" doc:"Who told"`
}

// RecorderList is all that usher sees of the site's recorders.
type RecorderList struct {
	Watching bool       `json:"watching" doc:"Whether usher sees the room in which they wait. Recording works without"`
	Problem  string     `json:"problem,omitempty" doc:"Why not"`
	Data     []Recorder `json:"data" nullable:"false"`
}

// Queued is a recording in line.
type Queued struct {
	Position  int                   `json:"position" doc:"1 is next"`
	Recording meeting.RecordingInfo `json:"recording"`
}

func (v *v1) listRecorders(context.Context, *struct{}) (*struct{ Body RecorderList }, error) {
	list := RecorderList{Data: []Recorder{}}
	list.Watching, list.Problem = v.recorders.Watching()
	for _, r := range v.recorders.Recorders() {
		list.Data = append(list.Data, Recorder{r.Name, string(r.Status), meeting.Time{Time: r.Since}, r.Source})
	}
	return &struct{ Body RecorderList }{list}, nil
}

func (v *v1) listQueue(ctx context.Context, _ *struct{}) (*page[Queued], error) {
	if !v.commands.Running() { // the line is another process's
		return nil, v.fail(ctx, meeting.ErrUnavailable)
	}
	position := 0
	return newPage(v.recorders.Queue(), "", func(r meeting.Recording) Queued {
		position++
		return Queued{position, r.Info()}
	}), nil
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// reports is the subscriber of Jibri's webhooks (jibri.webhook.subscribers).
// Jibri takes nothing but 200 for an answer, and does not repeat.
type reports struct {
	secret    credentials
	recorders Recorders
}

func (h *reports) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.secret.match(r.PathValue("secret")) {
		writeProblem(w, r, newProblem(http.StatusNotFound, ""))
		return
	}
	var body struct {
		ID     string `json:"jibriId"`
		Status *struct {
			Busy   string `json:"busyStatus"`
			Health struct {
				Status string `json:"healthStatus"`
			} `json:"health"`
		} `json:"status"` // missing in reports about sessions, which say nothing new
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&body)
	if err != nil || !isPlain(body.ID, maxRecorderName) {
		writeProblem(w, r, newProblem(http.StatusBadRequest, "not a report of Jibri's"))
		return
	}
	if body.Status != nil {
		h.recorders.Report(body.ID, body.Status.Busy != "IDLE", body.Status.Health.Status == "HEALTHY")
	}
	w.WriteHeader(http.StatusOK)
}
