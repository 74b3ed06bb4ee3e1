package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"usher/meeting"
)

// TestFormsOfTheSame has what RFC 9110, RFC 3339 and JSON Schema call the same in
// other letters.
func TestFormsOfTheSame(t *testing.T) {
	s := newSite(t)
	for _, kind := range []string{"application/JSON; charset=UTF-8", "APPLICATION/json", "application/json ; charset=utf-8"} {
		if res := s.send("POST", "/v1/meetings", `{}`, "Bearer "+testKey, kind); res.Code != http.StatusCreated {
			t.Errorf("a body of type %s = %d %s, want 201", kind, res.Code, res.Body)
		}
	}
	for body, want := range map[string]string{
		`{"end_at":"2099-01-01t18:00:00z"}`:        `"end_at":"2099-01-01T18:00:00.000Z"`,
		`{"end_at":"2099-01-01T18:00:00.5+02:00"}`: `"end_at":"2099-01-01T16:00:00.500Z"`,
		`{"max_participants":50.0}`:                `"max_participants":50`,
		`{"max_participants":5e1,"metadata":null}`: `"max_participants":50`,
		`{"recording":{"queue_timeout_s":60.0}}`:   `"queue_timeout_s":60`,
		`{"name_prefix":"Team Standup!"}`:          `"room":"team-standup-`,
	} {
		if res := s.do("POST", "/v1/meetings", body); res.Code != http.StatusCreated || !strings.Contains(res.Body.String(), want) {
			t.Errorf("%s = %d %s, want 201 and %s", body, res.Code, res.Body, want)
		}
	}
	for _, bad := range []string{`"tomorrow"`, `"2099-13-01T00:00:00Z"`, `"2099-01-01"`, `""`, `4070908800`, `50.5`} {
		field := map[bool]string{true: "max_participants", false: "end_at"}[bad == "50.5"]
		if p := s.do("POST", "/v1/meetings", `{"`+field+`":`+bad+`}`).problem(422); len(p.Errors) != 1 || p.Errors[0].Pointer != "/"+field {
			t.Errorf("%s: errors = %+v, want one that names the field", bad, p.Errors)
		}
	}
}

// TestErrorsSayWhatToSend reads the details that people go by.
func TestErrorsSayWhatToSend(t *testing.T) {
	s := newSite(t)
	m := "/v1/meetings/" + s.create(`{}`)["id"].(string)
	for request, want := range map[string]string{
		"GET /v1/meetings/mtg_1":            "there is no such meeting, or it is not kept any more",
		"DELETE " + m + "/links/lnk_1":      "there is no such meeting, or no such link, or it is not kept any more",
		"DELETE /v1/api-keys/key_1":         "there is no such api key, or it is not kept any more",
		"GET /v1/none":                      noRoute,
		"PUT /v1/meetings":                  "this path takes GET, HEAD, POST",
		"GET /v1/webhooks/whk_1/deliveries": "there is no such webhook, or it is not kept any more",
	} {
		method, path, _ := strings.Cut(request, " ")
		var p Problem
		s.do(method, path, "").into(map[bool]int{true: 405, false: 404}[method == "PUT"], &p)
		if p.Detail != want {
			t.Errorf("%s: detail = %q, want %q", request, p.Detail, want)
		}
	}
	res := s.send("POST", "/v1/meetings", `{}`, "Bearer "+testKey, "application/x-www-form-urlencoded")
	if p := res.problem(415); p.Detail != "send the body as JSON, with the header Content-Type: application/json" || res.Header().Get("Accept") != "application/json" {
		t.Errorf("415 says %q, with Accept: %s", p.Detail, res.Header().Get("Accept"))
	}
}

func TestMe(t *testing.T) {
	s := newSite(t)
	key := s.makeKey("app", `"events:read"`)
	var me Me
	s.as(key.Key, "GET", "/v1/me", "").into(200, &me)
	if me.ID != key.ID || me.Name != "app" || len(me.Scopes) != 1 || me.Scopes[0] != ScopeEventsRead || !me.CreatedAt.Equal(key.CreatedAt.Time) {
		t.Errorf("me = %+v, want the key %+v", me, key)
	}
	s.do("GET", "/v1/me", "").into(200, &me)
	if me.ID != configuredKey || me.Scopes[0] != ScopeAdmin {
		t.Errorf("me = %+v, want a key of the configuration", me)
	}
	s.as("", "GET", "/v1/me", "").problem(401)
}

// TestIdle: between two sessions a meeting is not as if nobody had ever been in.
func TestIdle(t *testing.T) {
	s := newSite(t)
	m := s.create(`{"room":"rm","departure_timeout_s":1}`)
	s.observe("rm", meeting.Seen{Occupant: human("ann")})
	s.observe("rm", meeting.Gone{Nick: "ann", Reason: meeting.LeftByChoice})
	state := func() any {
		var now anyMap
		s.do("GET", "/v1/meetings/"+m["id"].(string), "").into(200, &now)
		return now["state"]
	}
	s.until(func() bool { time.Sleep(50 * time.Millisecond); return state() != "live" })
	var idle, created Page[anyMap]
	s.do("GET", "/v1/meetings?state=idle", "").into(200, &idle)
	s.do("GET", "/v1/meetings?state=created", "").into(200, &created)
	if state() != "idle" || len(idle.Data) != 1 || len(created.Data) != 0 {
		t.Errorf("state = %v, with %d idle and %d created, want idle, 1 and 0", state(), len(idle.Data), len(created.Data))
	}
}
