package api

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/meeting"
)

// makeKey makes a key over the API.
func (s *site) makeKey(name, scopes string) (key APIKey) {
	s.t.Helper()
	s.do("POST", "/v1/api-keys", `{"name":"`+name+`","scopes":[`+scopes+`]}`).into(http.StatusCreated, &key)
	return key
}

// as sends a request with another key.
func (s *site) as(key, method, target, body string) response {
	s.t.Helper()
	return s.sendWith(method, target, body, http.Header{"Authorization": {"Bearer " + key}})
}

func TestAPIKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		key := s.makeKey("app", `"meetings:read","meetings:write"`)
		if !regexp.MustCompile(`^usk_[0-9A-Z]{26}_[0-9A-Z]{26}$`).MatchString(key.Key) || key.ID != "key_"+key.Key[4:30] {
			t.Errorf("key = %+v", key)
		}
		stored, err := s.store.APIKeys(t.Context())
		if err != nil || len(stored) != 1 || strings.Contains(string(stored["app/1"]), key.Key[31:]) {
			t.Errorf("stored: %s, %v, want it without the secret", stored, err)
		}
		s.as(key.Key, "POST", "/v1/meetings", `{}`).into(http.StatusCreated, &anyMap{})
		last := key.Key[len(key.Key)-1:]
		wrong := key.Key[:len(key.Key)-1] + map[bool]string{true: "B", false: "A"}[last == "A"]
		for _, text := range []string{wrong, key.Key + "A", "usk_", "usk__", "usk_" + key.ID[4:] + "_", "usk_01JDB2W8Z3W5V6S0Q5M2T8K4AR_" + key.Key[31:]} {
			s.as(text, "GET", "/v1/meetings", "").problemCode(http.StatusUnauthorized, "unauthorized")
		}

		second := s.makeKey("app", `"meetings:read"`)
		s.do("POST", "/v1/api-keys", `{"name":"app","scopes":["admin"]}`).problemCode(http.StatusConflict, "two_keys")
		s.makeKey("other", `"admin"`)
		list := s.do("GET", "/v1/api-keys", "")
		var keys struct{ Data []APIKey }
		list.into(http.StatusOK, &keys)
		if len(keys.Data) != 3 || strings.Contains(list.Body.String(), key.Key[31:]) || strings.Contains(list.Body.String(), "sha256") {
			t.Errorf("list = %s, want three keys without secrets", list.Body)
		}

		if res := s.do("DELETE", "/v1/api-keys/"+key.ID, ""); res.Code != http.StatusNoContent {
			t.Errorf("revoke = %d %s, want 204", res.Code, res.Body)
		}
		s.as(key.Key, "GET", "/v1/meetings", "").problemCode(http.StatusUnauthorized, "unauthorized")
		s.as(second.Key, "GET", "/v1/meetings", "").into(http.StatusOK, &anyMap{})
		s.do("DELETE", "/v1/api-keys/"+key.ID, "").problemCode(http.StatusNotFound, "not_found")
		s.makeKey("app", `"meetings:read"`)
		for body, pointer := range map[string]string{
			`{"name":"a","scopes":[]}`: "/scopes", `{"name":"a","scopes":["everything"]}`: "/scopes/0",
			`{"name":"a/b","scopes":["admin"]}`: "/name",
		} {
			if p := s.do("POST", "/v1/api-keys", body).problem(http.StatusUnprocessableEntity); len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
				t.Errorf("%s: errors = %+v, want one for %s", body, p.Errors, pointer)
			}
		}
		if log := s.log.String(); strings.Contains(log, key.Key[31:]) || !strings.Contains(log, "key_id="+second.ID) {
			t.Error("the log holds a secret, or lacks who called")
		}
	})
}

func TestRevokedKeyOnAnotherInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		key := s.makeKey("app", `"meetings:read"`)
		here := s.handler
		s.serve(func(*testConfig) {}) // the other one, on the same store
		s.as(key.Key, "GET", "/v1/meetings", "").into(http.StatusOK, &anyMap{})
		other := s.handler
		s.handler = here
		s.do("DELETE", "/v1/api-keys/"+key.ID, "")
		s.handler = other
		time.Sleep(KeyCacheLife)
		s.as(key.Key, "GET", "/v1/meetings", "").problemCode(http.StatusUnauthorized, "unauthorized")
	})
}

func TestKeysWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		key := s.makeKey("app", `"meetings:read"`)
		s.as(key.Key, "GET", "/v1/meetings", "").into(http.StatusOK, &anyMap{})
		s.store.Fail(meeting.ErrUnavailable)
		time.Sleep(time.Minute)
		s.as(key.Key, "GET", "/v1/meetings", "").problemCode(http.StatusServiceUnavailable, "unavailable")
		s.as(key.Key+"x", "GET", "/v1/meetings", "").problemCode(http.StatusUnauthorized, "unauthorized")
		s.serve(func(*testConfig) {}) // one that has never seen the keys
		s.as(key.Key+"x", "GET", "/v1/meetings", "").problemCode(http.StatusServiceUnavailable, "unavailable")
		s.store.Fail(nil)
		s.as(key.Key, "GET", "/v1/meetings", "").into(http.StatusOK, &anyMap{})
	})
}

func TestScopes(t *testing.T) {
	s := newSite(t)
	path := "/v1/meetings/" + s.create(`{"room":"rm"}`)["id"].(string)
	all := []Scope{ScopeMeetingsRead, ScopeMeetingsWrite, ScopeParticipantsWrite, ScopeRecordingsWrite, ScopeWebhooksWrite, ScopeEventsRead, ScopeAdmin}
	keys := map[Scope]string{}
	for _, scope := range all {
		name, _, _ := strings.Cut(string(scope), ":")
		keys[scope] = s.makeKey(name, `"`+string(scope)+`"`).Key
	}
	for target, needed := range map[string]Scope{
		"GET /v1/meetings": ScopeMeetingsRead, "GET " + path: ScopeMeetingsRead, "GET " + path + "/participants": ScopeMeetingsRead,
		"GET /v1/rooms": ScopeMeetingsRead, "GET /v1/sessions/ses_1": ScopeMeetingsRead,
		"POST /v1/meetings": ScopeMeetingsWrite, "PATCH " + path: ScopeMeetingsWrite, "POST " + path + "/end": ScopeMeetingsWrite,
		"DELETE " + path: ScopeMeetingsWrite, "DELETE " + path + "/participants/prt_1": ScopeParticipantsWrite,
		"GET /v1/api-keys": ScopeAdmin, "POST /v1/api-keys": ScopeAdmin, "DELETE /v1/api-keys/key_1": ScopeAdmin,
	} {
		method, path, _ := strings.Cut(target, " ")
		for _, scope := range all {
			res := s.as(keys[scope], method, path, `{"nonsense":1}`)
			if may := scope == needed || scope == ScopeAdmin; may == (res.Code == http.StatusForbidden) {
				t.Errorf("%s with %s = %d %s", target, scope, res.Code, res.Body)
			} else if !may {
				res.problemCode(http.StatusForbidden, "forbidden")
			}
		}
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		key := s.makeKey("app", `"meetings:read"`).Key
		s.serve(func(c *testConfig) { c.KeyLimit = Limit{PerSecond: 2, Burst: 3} })
		check := func(status int, remaining, reset, retry string) {
			t.Helper()
			res := s.as(key, "GET", "/v1/meetings", "")
			if res.Code != status {
				t.Errorf("status = %d, want %d", res.Code, status)
			}
			for name, want := range map[string]string{
				"RateLimit-Limit": "3", "RateLimit-Remaining": remaining, "RateLimit-Reset": reset, "Retry-After": retry,
			} {
				if got := res.Header().Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if status == http.StatusTooManyRequests {
				res.problemCode(status, "rate_limited")
			}
		}
		check(200, "2", "1", "")
		check(200, "1", "1", "")
		check(200, "0", "2", "")
		check(429, "0", "2", "1")
		s.do("GET", "/v1/meetings", "").into(http.StatusOK, &anyMap{}) // another key
		time.Sleep(time.Second)
		check(200, "1", "1", "")
		// What is refused for want of a key counts for nobody.
		for range 10 {
			s.as(key+"x", "GET", "/v1/meetings", "").problem(http.StatusUnauthorized)
		}
		check(200, "0", "2", "")
	})
}

func TestLimitersAreBounded(t *testing.T) {
	l := &limiters{limit: Limit{PerSecond: 1, Burst: 1}}
	busy := l.of("busy")
	for i := range 3 * maxLimiters {
		l.of(string(rune(i)))
		if l.of("busy") != busy {
			t.Fatal("somebody who asks all the time starts anew")
		}
		if n := len(l.now) + len(l.old); n > maxLimiters {
			t.Fatalf("%d limiters are kept, want %d at most", n, maxLimiters)
		}
	}
}
