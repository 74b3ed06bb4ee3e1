package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"usher/config"
	"usher/internal/sleep"
	"usher/muc"
)

const (
	// webClientInterval is the time between two reads at the site's configuration,
	// which changes with an upgrade at most.
	webClientInterval = time.Hour
	// webClientRetry is that time while something is wrong: the web server may start
	// later than usher, and whoever mends it wants to see that.
	webClientRetry = 15 * time.Second
	// webClientTimeout bounds one read.
	webClientTimeout = 10 * time.Second
	// maxConfigJS is how much of the file is read; a site's has some 50 kB.
	maxConfigJS = 1 << 20
)

// watchWebClient checks the site's web client now, and from time to time until ctx
// ends, and reports what is wrong with it, if anything is.
func watchWebClient(ctx context.Context, check func(context.Context) muc.Problem, report func(muc.Problem)) {
	for {
		problem := check(ctx)
		if ctx.Err() != nil {
			return
		}
		report(problem)
		interval := webClientInterval
		if problem.Seen != "" {
			interval = webClientRetry
		}
		if !sleep.For(ctx, interval) {
			return
		}
	}
}

// checkWebClient compares the hidden domain of the site's web client with ours, and
// returns what is wrong, because people would see usher in their meetings; nothing
// seen: nothing. It blocks for an answer.
func checkWebClient(ctx context.Context, siteURL, hiddenDomain string) muc.Problem {
	names, err := ReadSite(ctx, siteURL)
	switch {
	case err != nil:
		return muc.Problem{Seen: err.Error(), Do: lookYourself(siteURL, hiddenDomain)}
	case names.Hidden != hiddenDomain:
		return hidesAnother(names.Hidden, hiddenDomain)
	}
	return muc.Problem{}
}

// hidesAnother is what is wrong when the web client hides another domain than ours, or
// none.
func hidesAnother(theirs, ours string) muc.Problem {
	if theirs == "" {
		return muc.Problem{Seen: "the web client hides no domain, so people see usher",
			Do: fmt.Sprintf("add to the site's config.js: config.hiddenDomain = '%s'; in docker-jitsi-meet ENABLE_RECORDING=1 does it", ours)}
	}
	return muc.Problem{Seen: fmt.Sprintf("the web client hides %q and usher is in %q, so people see it", theirs, ours),
		Do: "set USHER_HIDDEN_DOMAIN=" + theirs + " and create the account there, or hiddenDomain in config.js"}
}

// lookYourself is what to do where the web client's configuration cannot be read.
func lookYourself(siteURL, hiddenDomain string) string {
	return fmt.Sprintf("set USHER_SITE_URL to the address that people use; where this machine does not reach that, or does not trust its certificate, look yourself whether %s/config.js has config.hiddenDomain = '%s': usher needs it for nothing else", strings.TrimSuffix(siteURL, "/"), hiddenDomain)
}

// ReadSite reads the names of a site from its web client's configuration. It blocks
// for an answer, ten seconds at most.
func ReadSite(ctx context.Context, siteURL string) (config.SiteNames, error) {
	ctx, cancel := context.WithTimeout(ctx, webClientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(siteURL, "/")+"/config.js", nil)
	if err != nil {
		return config.SiteNames{}, fmt.Errorf("the site's URL makes no request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return config.SiteNames{}, fmt.Errorf("the web client's configuration cannot be read: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxConfigJS))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return config.SiteNames{}, fmt.Errorf("the web client's configuration cannot be read: %w", err)
	}
	return config.ReadSiteNames(string(text)), nil
}
