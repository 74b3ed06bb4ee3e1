package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"usher/api"
	"usher/meeting"
	"usher/webhook"
)

// maxPinged is how many receivers are pinged; more would take the rest of the time.
const maxPinged = 20

// receivers sends each webhook endpoint a signed webhook.test event: all those of a
// running usher, from there, or else those of the settings.
func (d *doctor) receivers(ctx context.Context) []api.Result {
	ping, ids, err := d.endpoints(ctx)
	switch {
	case err != nil:
		return []api.Result{{Name: "receivers", Finding: warn("not known: "+err.Error(), "see what api and settings say")}}
	case len(ids) == 0:
		return []api.Result{{Name: "receivers", Finding: ok("there are none")}}
	}
	found := make([]api.Result, min(len(ids), maxPinged))
	var all sync.WaitGroup
	for i := range found {
		all.Go(func() {
			a, err := ping(ids[i])
			found[i] = api.Result{Name: "receiver " + ids[i], Finding: received(a, err)}
		})
	}
	all.Wait()
	if left := len(ids) - len(found); left > 0 {
		found = append(found, api.Result{Name: "receivers", Finding: warn(fmt.Sprintf("not tried: %d more, after the first %d", left, maxPinged),
			"send each of them a test: POST /v1/webhooks/ID/test")})
	}
	return found
}

// endpoints returns those that are enabled, and what pings one.
func (d *doctor) endpoints(ctx context.Context) (ping func(id string) (webhook.Attempt, error), ids []string, err error) {
	if d.running == nil {
		registry, err := newRegistry(d.cfg, nil, nil, nil)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range registry.List() {
			ids = append(ids, e.ID)
		}
		deliverer := webhook.NewDeliverer(registry)
		return func(id string) (webhook.Attempt, error) { return deliverer.Test(ctx, id) }, ids, nil
	}
	var list struct {
		Data []struct {
			ID      string
			Enabled bool
		}
	}
	resp, err := ask(ctx, direct, http.MethodGet, d.at("/v1/webhooks"), d.cfg.APIKeys[0], &list) //nolint:bodyclose // ask has
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("usher answers %s", resp.Status)
	}
	for _, e := range list.Data {
		if e.Enabled {
			ids = append(ids, e.ID)
		}
	}
	return func(id string) (a webhook.Attempt, err error) {
		resp, err := ask(ctx, direct, http.MethodPost, d.at("/v1/webhooks/"+id+"/test"), d.cfg.APIKeys[0], &a) //nolint:bodyclose // ask has
		switch {
		case errors.Is(err, context.DeadlineExceeded): // usher waits for it longer than the doctor
			return webhook.Attempt{Error: "timeout"}, nil
		case err == nil && resp.StatusCode != http.StatusOK: // of usher, not of the receiver
			err = fmt.Errorf("usher answers %s", resp.Status)
		}
		return a, err
	}, ids, err
}

// unreached says what to do by why there was no answer ([webhook.Attempt]).
var unreached = map[string]string{
	"dns":     "put a host that usher's machine knows into its url (USHER_WEBHOOKS)",
	"blocked": "set USHER_WEBHOOK_ALLOW to the receiver's network, such as 10.0.0.0/8",
	"connect": "start the receiver, or mend its url (USHER_WEBHOOKS)",
	"tls":     "give the receiver a certificate that usher's machine trusts, or mend its url (USHER_WEBHOOKS)",
	"timeout": "have the receiver answer before it works on the event",
}

// received is what came of a ping.
func received(a webhook.Attempt, err error) api.Finding {
	switch {
	case err != nil:
		return warn("not tried: "+err.Error(), "see what api and usher say, and run usher doctor once more in a minute")
	case a.Result == meeting.Delivered:
		return ok(fmt.Sprintf("takes a signed event, after %d ms", a.DurationMS))
	case a.Status == 0:
		return fail("no answer: "+a.Error, unreached[a.Error])
	}
	f := fail(fmt.Sprintf("answers %d %s", a.Status, http.StatusText(a.Status)), "look at the receiver's log")
	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
		f.Do = "give the receiver the same secret as the endpoint has (USHER_WEBHOOKS), or the endpoint the dialect that it understands"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		f.Do = "mend the path of its url (USHER_WEBHOOKS)"
	}
	return f
}
