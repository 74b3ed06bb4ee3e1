package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"usher/api"
	"usher/config"
	"usher/storage"
	"usher/store"
)

// Check returns everything that is wrong with the settings and can be said without
// a server: keys and certificates that cannot be read, names and URLs that are none.
// Each error names its setting.
func Check(cfg config.Config) error {
	problems := []error{checkLogins(cfg), checkStore("redis-url", cmp.Or(cfg.RedisURL, "redis://localhost"), "main"), checkStore("site", "redis://localhost", cfg.Site)}
	if cfg.MakesTokens() {
		// A wrong secret is refused now, not when the first person wants to join.
		_, err := NewIssuer(cfg.Jitsi)
		problems = append(problems, err)
	}
	if _, err := newRegistry(cfg, nil, nil, nil); err != nil {
		problems = append(problems, fmt.Errorf("webhooks: %w", err))
	}
	_, err := storage.NewSite(cfg.Recording)
	return errors.Join(append(problems, err)...)
}

const settingsName = "settings"

// settingsCheck says which settings work and are not as they should be.
func settingsCheck(cfg config.Config) api.Check {
	return api.Check{Name: settingsName, Run: func(context.Context) (f api.Finding) {
		for _, text := range cfg.Warnings {
			f = also(f, warn(text, "put it right, or take it out"))
		}
		return orElse(f, "well formed")
	}}
}

// checkStore makes a store of one setting and a right value for the other, which
// connects to nothing.
func checkStore(setting, url, site string) error {
	st, err := store.NewRedis(store.Config{URL: url, Site: site})
	if err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return st.Close()
}
