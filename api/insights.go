package api

import (
	"context"
	"net/http"
	"strings"

	"usher/meeting"
	"usher/meeting/service"
)

// ofRoom is the input of operations that look at all meetings or at those of
// one room.
type ofRoom struct {
	Room string  `query:"room" maxLength:"100" doc:"Only meetings of this room"`
	From Instant `query:"from" doc:"Only sessions that started then or later"`
	To   Instant `query:"to" doc:"Only sessions that started before"`
	Paging
}

func (in *ofRoom) filter() meeting.Filter { return meeting.Filter{Room: strings.ToLower(in.Room)} }

func (in *ofRoom) span() service.Span {
	return service.Span{From: instant(&in.From), To: instant(&in.To)}
}

func (v *v1) registerInsights() {
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-session-insights", "GET /v1/insights/sessions",
		"List what sessions came to: minutes and different people. Those of one meeting stand together"), v.sessionInsights)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-room-insights", "GET /v1/insights/rooms",
		"List what meetings came to, all their sessions together"), v.roomInsights)
	show(v, operation(ScopeMeetingsRead, http.StatusOK, "list-usage", "GET /v1/usage",
		"Add up what sessions came to, by the day on which they started and the API key that made the meeting. All at once: with many thousand meetings, ask for a few days at a time"), v.usage)
}

func (v *v1) sessionInsights(ctx context.Context, in *ofRoom) (Page[service.SessionUsage], error) {
	list, next, err := v.Service.SessionUsages(ctx, in.filter(), in.span(), in.Cursor, in.Limit)
	return pageOf(list, next, err, same)
}

func (v *v1) roomInsights(ctx context.Context, in *ofRoom) (Page[service.RoomUsage], error) {
	list, next, err := v.Service.RoomUsages(ctx, in.filter(), in.span(), in.Cursor, in.Limit)
	return pageOf(list, next, err, same)
}

func (v *v1) usage(ctx context.Context, in *struct {
	From  Instant `query:"from" doc:"Only sessions that started then or later"`
	To    Instant `query:"to" doc:"Only sessions that started before"`
	KeyID string  `query:"key_id" maxLength:"64" doc:"Only meetings that this API key made"`
}) (page Page[service.DayUsage], err error) {
	list, err := v.Service.UsageByDay(ctx, service.Span{From: instant(&in.From), To: instant(&in.To)}, in.KeyID)
	if err != nil {
		return page, err
	}
	keys, err := v.keys.all(ctx)
	for i := range list {
		list[i].App = keys[list[i].KeyID].Name
	}
	return pageOf(list, "", err, same)
}
