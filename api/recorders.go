package api

import (
	"context"
	"encoding/json"
	"net/http"

	"usher/meeting"
)

// maxReport, in bytes, is far more than a Jibri's status takes.
const maxReport = 64 << 10

// Recorders knows the site's Jibris and their queue.
type Recorders interface {
	Recorders() []meeting.Recorder
	// Watching reports whether all of them are seen, and why not.
	Watching() (ok bool, problem string)
	// Queue returns the recordings that wait for one, the next one first.
	Queue() []meeting.Recording
	// Report takes a Jibri's own status.
	Report(name string, busy, healthy bool)
}

// Recorder is a Jibri as apps see it.
type Recorder struct {
	Name   string       `json:"name" doc:"Jibri's instance id"`
	Status string       `json:"status" enum:"idle,busy,unhealthy,gone"`
	Since  meeting.Time `json:"since" doc:"Of the status"`
	Source string       `json:"source" enum:"brewery,webhook" doc:"Where this was learned"`
}

// RecorderList is all that usher sees of the site's recorders.
type RecorderList struct {
	Watching bool       `json:"watching" doc:"Whether usher sees the room in which they wait. Recording works without"`
	Problem  string     `json:"problem,omitempty" doc:"Why not"`
	Data     []Recorder `json:"data" nullable:"false"`
}

// Queued is a recording that waits for a recorder.
type Queued struct {
	Position  int                   `json:"position" doc:"1 is next"`
	Recording meeting.RecordingInfo `json:"recording"`
}

func (v *v1) listRecorders(context.Context, *struct{}) (RecorderList, error) {
	list := RecorderList{Data: []Recorder{}}
	list.Watching, list.Problem = v.Recorders.Watching()
	for _, r := range v.Recorders.Recorders() {
		list.Data = append(list.Data, Recorder{r.Name, string(r.Status), timeOf(r.Since), r.Source})
	}
	return list, nil
}

func (v *v1) listQueue(context.Context, *struct{}) (page Page[Queued], err error) {
	if !v.Service.Running() { // the queue is another process's
		return page, meeting.ErrUnavailable
	}
	position := 0
	return pageOf(v.Recorders.Queue(), "", nil, func(r meeting.Recording) Queued {
		position++
		return Queued{position, r.Info()}
	})
}

// jibriHook takes reports as a subscriber of Jibri's webhooks (jibri.webhook.subscribers).
// Jibri takes nothing but 200 for an answer, and does not repeat.
func (s *server) jibriHook(w http.ResponseWriter, r *http.Request) error {
	if !s.hook.match(r.PathValue("secret")) {
		s.Refused(PartJibriHook)
		return NewProblem(http.StatusNotFound, "")
	}
	var body struct {
		ID     string `json:"jibriId"`
		Status *struct {
			Busy   string `json:"busyStatus"`
			Health struct {
				Status string `json:"healthStatus"`
			} `json:"health"`
		} `json:"status"` // missing in reports about sessions, which hold nothing new
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&body)
	if err != nil || !isPlain(body.ID, maxRecorderName) {
		return NewProblem(http.StatusBadRequest, "not a report of Jibri's")
	}
	if body.Status != nil {
		s.Recorders.Report(body.ID, body.Status.Busy != "IDLE", body.Status.Health.Status == "HEALTHY")
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
