package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"usher/api"
	"usher/component"
	"usher/meeting"
	"usher/store"
)

// checks are the conditions of /readyz. Each names one thing that an operator
// can check; none makes another fail.
func (l *leader) checks(st *store.Redis) []api.Check {
	leading := func(f func(*term) (string, error)) func(context.Context) (string, error) {
		return func(context.Context) (string, error) {
			t := l.term.Load()
			if t == nil {
				return "", errors.New("standing by: another process leads, or the store does not say")
			}
			return f(t)
		}
	}
	return []api.Check{
		{Name: "store", Run: func(ctx context.Context) (string, error) {
			if err := st.Ping(ctx); err != nil {
				return "", err
			}
			if t := l.term.Load(); t != nil && t.tracker.StoreFailing() {
				return "", errors.New(strings.Join(append([]string{"changes wait to be stored"}, st.Findings()...), "; "))
			}
			return strings.Join(append([]string{"redis"}, st.Findings()...), "; "), nil
		}},
		{Name: "api_keys", Run: func(ctx context.Context) (string, error) {
			// The one whose key cannot be read is locked out, and nobody else.
			n, unreadable, err := api.StoredKeys(ctx, st)
			if err != nil {
				return "not known while the store does not answer", nil
			}
			return fmt.Sprintf("made over the API: %d", n) + naming("unreadable", unreadable), nil
		}},
		{Name: "meetings", Run: leading(func(t *term) (string, error) {
			if !t.tracker.Running() {
				return "", errors.New("not loaded yet")
			}
			return "loaded", nil
		})},
		{Name: "component", Run: leading(func(t *term) (string, error) {
			return linkState(t.component, l.cfg.ComponentDomain)
		})},
		{Name: "occupant", Run: leading(func(t *term) (string, error) {
			if t.login == nil {
				return "labelled, on the component", nil
			}
			return linkState(t.login, "hidden, as "+occupantAccount(l.cfg).jid())
		})},
		{Name: "recorders", Run: leading(func(t *term) (string, error) {
			// Without them in sight recording works all the same.
			if ok, problem := t.pool.Watching(); !ok {
				if t.brewery == nil {
					return "not in sight: " + problem + "; with USHER_BREWERY_PASSWORD usher watches as " + breweryAccount(l.cfg).jid(), nil
				}
				if _, err := linkState(t.brewery, ""); err != nil {
					problem = err.Error()
				}
				return "not in sight: " + problem, nil
			}
			idle, all := 0, t.pool.Recorders()
			for _, r := range all {
				if r.Status == meeting.RecorderIdle {
					idle++
				}
			}
			return fmt.Sprintf("%d, %d of them idle", len(all), idle), nil
		})},
		{Name: "bridges", Run: leading(func(t *term) (string, error) {
			if t.bridges == nil {
				return "nothing is recorded from them (USHER_TRACKS_LISTEN)", nil
			}
			if ok, problem := t.bridges.Watching(); !ok {
				return "not in sight: " + problem, nil
			}
			return fmt.Sprintf("%d in sight; people are informed by: %s", len(t.bridges.InSight()), l.cfg.Tracks.Notice), nil
		})},
		{Name: "site", Run: leading(func(t *term) (string, error) {
			// A wrong setting of the site hits somebody's meeting, but taking
			// usher out of service would not help them.
			problems := t.rooms.Problems()
			var texts []string
			for _, check := range slices.Sorted(maps.Keys(problems)) {
				texts = append(texts, check+": "+problems[check])
			}
			return strings.Join(texts, "; "), nil
		})},
	}
}

// linkState describes the state of a stream.
func linkState(link *component.Link, as string) (string, error) {
	up, since, err := link.Status()
	switch {
	case up:
		return fmt.Sprintf("%s, up since %s", as, since.UTC().Format(time.RFC3339)), nil
	case err != nil:
		return as, fmt.Errorf("down: %w", err)
	}
	return as, errors.New("down: connecting")
}
