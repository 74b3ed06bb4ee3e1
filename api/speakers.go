package api

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"usher/meeting"
)

// Speakers says who spoke when in sessions that were recorded from the video
// bridges. What was not is [meeting.ErrNotFound].
type Speakers interface {
	Speakers(ctx context.Context, of meeting.SessionInfo) ([]meeting.SpeakerInfo, error)
	Timeline(ctx context.Context, of meeting.SessionInfo, format string, w io.Writer) error
}

// timelineTypes are the media types of the formats; WebVTT is always UTF-8, and RTTM
// has no type of its own.
var timelineTypes = map[string]string{
	"jsonl": "application/jsonl", "vtt": "text/vtt", "rttm": "text/plain; charset=utf-8",
}

func (v *v1) registerSpeakers() {
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-session-speakers", "GET /v1/sessions/{id}/speakers",
		"List who spoke in a session and how much, whoever spoke most first, as far as it was recorded in the modes tracks or levels", http.StatusNotImplemented), v.listSpeakers)
	timeline := operation(ScopeMeetingsRead, http.StatusOK, "get-session-timeline", "GET /v1/sessions/{id}/timeline",
		"Get who had the floor when: a JSON object a line, WebVTT or RTTM. Times count from the beginning of the first part, where its files begin", http.StatusNotImplemented)
	content := map[string]*huma.MediaType{}
	for _, kind := range timelineTypes {
		content[kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	timeline.Responses = map[string]*huma.Response{"200": {Description: "One line for each turn, or captions", Content: content}}
	handle(v, timeline, v.timeline)
}

func (v *v1) listSpeakers(ctx context.Context, in *ByID) (page Page[meeting.SpeakerInfo], err error) {
	session, err := v.recordedSession(ctx, in.ID)
	if err != nil {
		return page, err
	}
	list, err := v.Speakers.Speakers(ctx, session)
	return pageOf(list, "", err, same)
}

// timelineText is an output of huma's.
type timelineText struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (v *v1) timeline(ctx context.Context, in *struct {
	ByID
	Format string `query:"format" enum:"jsonl,vtt,rttm" default:"jsonl" doc:"jsonl: a JSON object a line; vtt: captions that say who speaks (WebVTT); rttm: for tools that compare speakers"`
}) (*timelineText, error) {
	session, err := v.recordedSession(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = v.Speakers.Timeline(ctx, session, in.Format, &text)
	return &timelineText{timelineTypes[in.Format], text.Bytes()}, err
}

// recordedSession returns a session that may have been recorded.
func (v *v1) recordedSession(ctx context.Context, id string) (meeting.SessionInfo, error) {
	session, _, err := v.Service.SessionOf(ctx, id)
	if err == nil && v.Speakers == nil {
		err = meeting.ErrNoBridges
	}
	return session.Info(), err
}
