package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"usher/api"
	"usher/component"
	"usher/config"
	"usher/internal/child"
	"usher/internal/sleep"
	"usher/store"
)

const (
	// doctorTimeout is how long [Doctor] looks at most: its caller promises ten
	// seconds.
	doctorTimeout = 9 * time.Second
	// adminTimeout is how long a running usher is waited for, whose own checks take
	// [api.CheckTimeout] at most.
	adminTimeout = api.CheckTimeout + time.Second
	// streamPatience is how long usher's own streams may take to come up; a login
	// takes 0.15 s. The brewery says nothing at all to whom it keeps out.
	streamPatience = 3 * time.Second
	// streamPoll is the time between two looks at them.
	streamPoll = 50 * time.Millisecond
	// lateAnswer is how long after its end a look may take to say what it has.
	lateAnswer = 500 * time.Millisecond
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 1 << 20
)

// doctor looks from the outside.
type doctor struct {
	cfg     config.Config
	st      *store.Redis   // nil: usher would start a Redis of its own
	running *api.Readiness // of the usher on this machine; nil: it does not answer
	absent  error          // why it does not
	inUse   api.Finding    // why usher's own logins are left to another process; no state: they are not
}

// Doctor looks at the site, and at usher as it runs or would run with the settings,
// and returns what it found, for nine seconds at most, whatever hangs.
//
// A running usher has the component's stream and the occupant's, and would lose them
// to whoever logs in after it: of these Doctor knows what /readyz says. Where none
// runs it logs in itself, for a moment.
func Doctor(ctx context.Context, cfg config.Config) []api.Result {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	d := &doctor{cfg: cfg}
	if cfg.RedisURL != "" {
		if st, err := store.NewRedis(store.Config{URL: cfg.RedisURL, Site: cfg.Site}); err == nil { // else settings says so
			defer st.Close()
			d.st = st
		}
	}
	d.find(ctx)
	return lookAll(ctx, []look{
		{settingsName, single(settingsName, d.settings)},
		{"usher", d.usher},
		{"dns", single("dns", d.dns)},
		{"web_client", single("web_client", d.webClient)},
		{"certificate", single("certificate", d.certificate)},
		{"clock", single("clock", d.clock)},
		{"people", single("people", d.people)},
		{"api", single("api", d.api)},
		{"public_url", single("public_url", d.publicURL)},
		{"receivers", d.receivers},
		{"recordings", single("recordings", d.recordings)},
		{"hand_over", single("hand_over", d.handOver)},
	})
}

// look is a part of the examination.
type look struct {
	name string
	run  func(context.Context) []api.Result
}

// single makes a look of a check with one finding.
func single(name string, run func(context.Context) api.Finding) func(context.Context) []api.Result {
	return func(ctx context.Context) []api.Result { return []api.Result{{Name: name, Finding: run(ctx)}} }
}

// lookAll runs all at the same time and returns what they find until ctx ends, in
// their order. It does not wait for those that hang beyond: a look at a folder of a
// server that is away cannot be ended. They end with the process.
func lookAll(ctx context.Context, looks []look) (found []api.Result) {
	results := make([]chan []api.Result, len(looks))
	for i, l := range looks {
		results[i] = make(chan []api.Result, 1)
		go func() { results[i] <- l.run(ctx) }()
	}
	// What ctx has cut off may still say so.
	late := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lateAnswer, func() { close(late) }) })()
	for i, l := range looks {
		select {
		case r := <-results[i]:
			found = append(found, r...)
		case <-late:
			found = append(found, api.Result{Name: l.name, Finding: fail("no end after "+doctorTimeout.String(), "look at what it asks, which neither answers nor refuses")})
		}
	}
	return found
}

// find looks for the process that has usher's streams.
func (d *doctor) find(ctx context.Context) {
	d.running, d.absent = Readyz(ctx, d.cfg.AdminListen)
	switch {
	case d.running != nil:
	case !dialFailed(d.absent):
		d.inUse = warn("not tried: something answers at USHER_ADMIN_LISTEN, and not as usher does", "set USHER_ADMIN_LISTEN as the running usher has it")
	case d.cfg.RedisURL == "":
		d.inUse = dataDirInUse(d.cfg.DataDir)
	case d.st == nil:
		d.inUse = warn("not tried: without Redis it is not known whether an usher elsewhere has them", "see what settings says")
	default:
		holder, err := d.st.Holder(ctx)
		if err != nil {
			d.inUse = warn("not tried: it is not known whether an usher elsewhere has them", "see what store says")
		} else if holder != "" {
			d.inUse = warn("not tried: "+holder+" leads", "run usher doctor there; if usher has just died there, in "+store.LeaseTTL.String())
		}
	}
}

// dataDirInUse says whether an usher on this machine has its Redis in the folder; no
// state: none has.
func dataDirInUse(dir string) (f api.Finding) {
	used, err := child.InUse(dir)
	switch {
	case err != nil:
		f = warn("not tried: it is not known whether an usher runs with USHER_DATA_DIR: "+err.Error(), "run usher doctor as the user that usher runs as")
	case used:
		f = warn("not tried: an usher runs with USHER_DATA_DIR ("+dir+"), and does not answer at USHER_ADMIN_LISTEN", "set USHER_ADMIN_LISTEN as it has it")
	}
	return f
}

// Readyz asks the usher on this machine, by the address of its admin listener, how it
// does. It blocks for three seconds at most, as Livez does.
func Readyz(ctx context.Context, addr string) (*api.Readiness, error) {
	var ready api.Readiness
	resp, err := askAdmin(ctx, addr, "/readyz", &ready) //nolint:bodyclose // ask has
	if err == nil && len(ready.Checks) == 0 {
		err = errors.New("it is not usher: " + resp.Status)
	}
	if err != nil {
		return nil, err
	}
	return &ready, nil
}

// Livez asks it only whether it runs.
func Livez(ctx context.Context, addr string) error {
	resp, err := askAdmin(ctx, addr, "/livez", nil) //nolint:bodyclose // ask has
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New("it is not usher: " + resp.Status)
	}
	return err
}

func askAdmin(ctx context.Context, addr, path string, out any) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	// An address without a host, or one that stands for all, is this machine here too.
	return ask(ctx, direct, http.MethodGet, (&url.URL{Scheme: "http", Host: addr, Path: path}).String(), "", out)
}

// direct asks the usher on this machine, through no proxy: an address that stands for
// all of the machine, such as 0.0.0.0, would lead to one (HTTP_PROXY), and the API key
// with it.
var direct = &http.Client{Transport: &http.Transport{}}

// ask sends a request without a body, with the API key unless that is empty, and
// decodes a JSON answer of any status into out.
func ask(ctx context.Context, client *http.Client, method, address string, key config.Secret, out any) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+string(key))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && out != nil && json.Unmarshal(text, out) != nil {
		err = errors.New("it is not usher: " + resp.Status)
	}
	return resp, err
}

// usher is what the running one says of itself, or else what can be tried in its
// place.
func (d *doctor) usher(ctx context.Context) []api.Result {
	if d.running != nil {
		seen := fmt.Sprintf("it runs as %s, %s; what follows up to dns is as it says of itself", d.running.Role, d.running.Mode)
		theirs := slices.DeleteFunc(slices.Clone(d.running.Checks), func(r api.Result) bool { return r.Name == settingsName })
		return append([]api.Result{{Name: "usher", Finding: ok(seen)}}, theirs...)
	}
	found := []api.Result{{Name: "usher", Finding: warn("none runs at USHER_ADMIN_LISTEN: "+d.absent.Error(), "start it: usher serve")}}
	if d.st != nil {
		found = append(found, api.Result{Name: "store", Finding: storeCheck(ctx, d.st, nil)})
	}
	if d.inUse.State != "" {
		return append(found, api.Result{Name: "streams", Finding: d.inUse})
	}
	own, err := d.own(ctx)
	if err != nil {
		return append(found, api.Result{Name: "streams", Finding: warn("not tried: "+err.Error(), "see what settings says")})
	}
	return append(found, own...)
}

// own logs in as usher would, and looks at what a leader looks at.
func (d *doctor) own(ctx context.Context) ([]api.Result, error) {
	cfg := d.cfg
	cfg.Tracks.Listen = "" // nothing is recorded here
	l := newLeader(cfg, nil, nil, nil, slog.New(slog.DiscardHandler))
	t, err := l.newTerm()
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	parts := new(errgroup.Group)
	defer func() {
		stop()
		_ = parts.Wait() // a look says what was wrong
	}()
	links := []*component.Link{t.component}
	watcher := t.component // the stream that the recorders are watched on
	if t.login != nil {
		links = append(links, t.login)
	}
	if t.brewery != nil {
		links, watcher = append(links, t.brewery), t.brewery
	}
	for _, link := range links {
		parts.Go(func() error { return link.Run(running) })
	}
	parts.Go(func() error { return t.pool.Run(running) })

	patience, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	for patient := true; patient && !settled(links, watcher, t); {
		patient = sleep.For(patience, streamPoll)
	}
	checks := append([]api.Check{
		{Name: "component", Run: func(context.Context) api.Finding { return linkState(t.component, d.cfg.ComponentDomain) }},
		{Name: "occupant", Run: func(context.Context) api.Finding { return l.occupantCheck(t) }},
		{Name: "recorders", Run: func(context.Context) api.Finding { return l.recordersCheck(t, isUp(watcher)) }},
	}, l.serverChecks(t)...)
	return api.Health{Checks: checks}.Look(ctx).Checks, nil
}

// settled reports whether each stream is up or refused, and whether it is known how
// the recorders' room takes usher.
func settled(links []*component.Link, watcher *component.Link, t *term) bool {
	for _, link := range links {
		if _, _, err := link.Status(); !isUp(link) && err == nil {
			return false
		}
	}
	watching, _ := t.pool.Watching()
	return watching || t.pool.Refused() || !isUp(watcher)
}

func isUp(link *component.Link) bool {
	up, _, _ := link.Status()
	return up
}
