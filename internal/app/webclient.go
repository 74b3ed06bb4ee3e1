package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"
)

const (
	// webClientInterval is the time between two reads at the site's configuration,
	// which changes with an upgrade at most.
	webClientInterval = time.Hour
	// webClientTimeout bounds one read.
	webClientTimeout = 10 * time.Second
	// maxConfigJS is how much of the file is read; a site's has some 50 kB.
	maxConfigJS = 1 << 20
)

// hiddenDomainJS is how config.js of Jitsi's web client names the domain whose
// members it does not show.
var hiddenDomainJS = regexp.MustCompile(`(?m)^[^/\n]*\bhiddenDomain['"]?\]?\s*[:=]\s*['"]([^'"]*)['"]`)

// watchWebClient compares the hidden domain of the site's web client with ours,
// now and every hour until ctx ends, and reports a difference: people would see
// usher in their meetings.
func watchWebClient(ctx context.Context, siteURL, hiddenDomain string, report func(problem string)) {
	for {
		problem := checkWebClient(ctx, siteURL, hiddenDomain)
		if ctx.Err() != nil {
			return
		}
		report(problem)
		select {
		case <-time.After(webClientInterval):
		case <-ctx.Done():
			return
		}
	}
}

// checkWebClient returns what is wrong; empty: nothing. It blocks for an answer.
func checkWebClient(ctx context.Context, siteURL, hiddenDomain string) string {
	ctx, cancel := context.WithTimeout(ctx, webClientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, siteURL+"/config.js", nil)
	if err != nil {
		return "the site's URL makes no request: " + err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "the web client's configuration cannot be read: " + err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxConfigJS))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("the web client's configuration cannot be read: %s %v", resp.Status, err)
	}
	found := hiddenDomainJS.FindSubmatch(text)
	switch {
	case found == nil:
		return "the web client hides no domain, so people see usher; is recording enabled for the web client?"
	case string(found[1]) != hiddenDomain:
		return fmt.Sprintf("the web client hides %q and usher is in %q, so people see it", found[1], hiddenDomain)
	}
	return ""
}
