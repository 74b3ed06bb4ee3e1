package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/api"
	"usher/component"
	"usher/meeting"
	"usher/muc"
	"usher/store"
)

// The findings of checks.

func ok(seen string) api.Finding       { return api.Finding{State: api.CheckOK, Seen: seen} }
func warn(seen, do string) api.Finding { return api.Finding{State: api.CheckWarn, Seen: seen, Do: do} }
func fail(seen, do string) api.Finding { return api.Finding{State: api.CheckFail, Seen: seen, Do: do} }

// failed is the finding of an error, explained or not.
func failed(err error) api.Finding {
	if e, is := errors.AsType[*explained](err); is {
		return fail(e.seen+": "+e.cause.Error(), e.do)
	}
	return fail(err.Error(), "")
}

// also adds what else was found: the worse state counts.
func also(f, more api.Finding) api.Finding {
	if more.State.Rank() > f.State.Rank() {
		f.State = more.State
	}
	join := func(a, b string) string { return strings.Trim(a+"; "+b, "; ") }
	f.Seen, f.Do = join(f.Seen, more.Seen), join(f.Do, more.Do)
	return f
}

// health says what /readyz looks at now. Each check names one thing that an
// operator can look at; none makes another fail. A process that stands by has no
// streams and no meetings to look at.
func (l *leader) health(st *store.Redis, others ...api.Check) api.Health {
	h := api.Health{Role: api.RoleStandby, Mode: l.mode()}
	t := l.term.Load()
	h.Checks = []api.Check{
		{Name: "store", Run: func(ctx context.Context) api.Finding { return storeCheck(ctx, st, t) }},
		{Name: "api_keys", Run: func(ctx context.Context) api.Finding {
			// The one whose key cannot be read is locked out, and nobody else.
			n, unreadable, err := api.StoredKeys(ctx, st)
			if err != nil {
				return ok("not known while the store does not answer")
			}
			f := ok(fmt.Sprintf("made over the API: %d", n))
			return namedIn(f, "unreadable", unreadable, "make new ones in their place, or restore them from a backup")
		}},
	}
	h.Checks = append(h.Checks, others...)
	if t == nil {
		h.Checks = append(h.Checks, api.Check{Name: "leader", Run: func(ctx context.Context) api.Finding { return standbyCheck(ctx, st, l.name) }})
		return h
	}
	h.Role = api.RoleLeader
	h.Checks = append(h.Checks,
		api.Check{Name: "meetings", Run: func(context.Context) api.Finding {
			if !t.tracker.Running() {
				return fail("not loaded yet", "wait: they are loaded as soon as the store answers")
			}
			return ok("loaded")
		}},
		api.Check{Name: "component", Run: func(context.Context) api.Finding { return linkState(t.component, l.cfg.ComponentDomain) }},
		api.Check{Name: "occupant", Run: func(context.Context) api.Finding { return l.occupantCheck(t) }},
		api.Check{Name: "bridges", Run: func(context.Context) api.Finding { return l.bridgesCheck(t) }},
		api.Check{Name: "recorders", Run: func(context.Context) api.Finding { return l.recordersCheck(t, t.pool.Refused()) }},
	)
	h.Checks = append(h.Checks, l.serverChecks(t)...)
	h.Checks = append(h.Checks, l.roomChecks(t)...)
	return h
}

// Modes of the occupant.
const (
	modeHidden   = "hidden"
	modeLabelled = "labelled"
)

// mode is what the occupant is.
func (l *leader) mode() string {
	if l.labelled {
		return modeLabelled
	}
	return modeHidden
}

// storeCheck asks Redis whether it answers and keeps what it is given. t is nil
// where another process leads.
func storeCheck(ctx context.Context, st *store.Redis, t *term) api.Finding {
	if err := st.Ping(ctx); err != nil {
		return failed(explainRedis(err))
	}
	f := ok("redis answers")
	if t != nil && t.tracker.StoreFailing() {
		f = fail("changes wait to be stored", "wait, or look at the log of Redis")
	}
	findings := st.Findings()
	keeping, err := st.Keeping(ctx)
	if errors.Is(err, store.ErrOldRedis) {
		f = also(f, fail(err.Error(), "install a newer one, or leave USHER_REDIS_URL out: usher then starts the redis-server of its machine"))
	}
	findings = append(findings, keeping...)
	for _, found := range findings {
		f = also(f, warn(found.Seen, found.Do))
	}
	return f
}

// explainRedis says what a call of Redis that fails hangs on.
func explainRedis(err error) error {
	e := &explained{"redis does not answer", err, "look at the log of Redis, or set USHER_REDIS_URL to where it is"}
	switch {
	case redis.IsAuthError(err):
		e.seen, e.do = "redis refuses usher", "put its user and password into USHER_REDIS_URL: redis://user:password@host:6379/0"
	case dialFailed(err):
		e.do = "start Redis, or set USHER_REDIS_URL to where it is"
	}
	return e
}

// standbyCheck asks who leads while this process does not, whose name is given.
func standbyCheck(ctx context.Context, st *store.Redis, name string) api.Finding {
	holder, err := st.Holder(ctx)
	switch {
	case err != nil:
		return ok("not known while the store does not answer")
	case holder == "":
		return fail("nobody leads yet", fmt.Sprintf("wait: it takes %v where the store is new or the leader has died", store.LeaseTTL))
	case holder == name:
		return fail("about to lead", "wait")
	}
	return ok("standing by; " + holder + " leads")
}

// linkState describes the state of a stream.
func linkState(link *component.Link, as string) api.Finding {
	up, since, err := link.Status()
	switch {
	case up:
		return ok(fmt.Sprintf("%s, up since %s", as, since.UTC().Format(time.RFC3339)))
	case err != nil:
		f := failed(err)
		f.Seen = as + ", down: " + f.Seen
		return f
	}
	return fail(as+", down: connecting", "wait")
}

func (l *leader) occupantCheck(t *term) api.Finding {
	if t.login == nil {
		return ok("labelled, on the component: people see it as " + l.cfg.DisplayName)
	}
	f := linkState(t.login, "hidden, as "+occupantAccount(l.cfg).jid())
	if l.cfg.TLSInsecure && f.State == api.CheckOK {
		return also(f, warn("any certificate is taken for Prosody's", "set USHER_TLS_CA_FILE or USHER_TLS_PIN in the place of USHER_TLS_INSECURE"))
	}
	return f
}

// recordersCheck never fails: without them in sight recording works all the same.
// keptOut says that their room does not let usher in.
func (l *leader) recordersCheck(t *term, keptOut bool) api.Finding {
	if in, problem := t.pool.Watching(); !in {
		a := breweryAccount(l.cfg)
		if t.brewery != nil {
			if up, _, err := t.brewery.Status(); !up && err != nil { // it has tried, and failed
				f := linkState(t.brewery, "not in sight: "+a.jid())
				return warn(f.Seen, f.Do)
			}
		}
		f := ok("not in sight: " + problem)
		switch {
		case !keptOut:
		case t.brewery == nil:
			f = warn(f.Seen, fmt.Sprintf("set USHER_BREWERY_PASSWORD and run: prosodyctl register %s %s PASSWORD", a.user, a.domain))
		default:
			f = warn(f.Seen, "have recording switched on in Jicofo, which makes that room, USHER_BREWERY be the room that Jibris wait in, and muc_filter_whitelist of its host in Prosody hold "+a.domain)
		}
		return f
	}
	idle, all := 0, t.pool.Recorders()
	for _, r := range all {
		if r.Status == meeting.RecorderIdle {
			idle++
		}
	}
	return ok(fmt.Sprintf("%d, %d of them idle", len(all), idle))
}

func (l *leader) bridgesCheck(t *term) api.Finding {
	if t.bridges == nil {
		return ok("nothing is recorded from them (USHER_TRACKS_LISTEN)")
	}
	if in, problem := t.bridges.Watching(); !in {
		return warn("not in sight: "+problem, "start Jicofo or a video bridge, which make that room, and set USHER_BREWERY_PASSWORD, and USHER_TRACKS_BREWERY to the room that bridges wait in")
	}
	return ok(fmt.Sprintf("%d in sight; people are informed by: %s", len(t.bridges.InSight()), l.cfg.Tracks.Notice))
}

// roomChecks are what usher finds out about the site in its rooms. A wrong setting
// of the site hits somebody's meeting, but taking usher out of service would not
// help them.
func (l *leader) roomChecks(t *term) []api.Check {
	hides := "the web client hides " + l.cfg.HiddenDomain
	switch {
	case l.labelled:
		hides = "not looked at: people are to see usher"
	case l.cfg.SiteURL == "":
		hides = "not looked at: without USHER_SITE_URL nobody knows what the web client hides"
	}
	moderator := "people become moderators"
	if !l.cfg.ElectsModerator {
		moderator = "not looked at (USHER_ELECTS_MODERATOR)"
	}
	ids := "rooms have the meeting id by which bridges know them"
	if l.cfg.Tracks.Listen == "" {
		ids = "not looked at: nothing is recorded from bridges (USHER_TRACKS_LISTEN)"
	}
	var checks []api.Check
	for _, c := range []struct{ name, fine string }{
		{muc.CheckEntry, "rooms let usher in"},
		{muc.CheckRole, "usher becomes owner of a room when it has to"},
		{muc.CheckModerator, moderator},
		{muc.CheckHiddenDomain, hides},
		{muc.CheckMeetingID, ids},
		{muc.CheckLobby, "usher sees who waits in lobbies"},
	} {
		checks = append(checks, api.Check{Name: c.name, Run: func(context.Context) api.Finding {
			return problem(t.rooms.Problems()[c.name], c.fine)
		}})
	}
	return checks
}

// problem is the finding of what was noted of a self-check; fine, when that is
// nothing.
func problem(p muc.Problem, fine string) api.Finding {
	switch {
	case p.Seen == "":
		return ok(fine)
	case p.Room != "":
		p.Seen = "room " + p.Room + ": " + p.Seen
	}
	return warn(p.Seen, p.Do)
}
