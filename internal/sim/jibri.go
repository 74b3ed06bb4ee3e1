package sim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"sync"
	"time"

	"mellium.im/xmpp/stanza"

	"usher/component"
)

// What a real Jibri and its site take.
const (
	hookTimeout    = 2 * time.Second  // of a webhook's subscriber (WebhookClient)
	reportInterval = time.Minute      // between two reports to it (Main.kt)
	emptyPatience  = 30 * time.Second // default-call-empty-timeout (reference.conf)
	browserDelay   = 2 * time.Second  // a real Chrome takes 1.1 to 7 s
	// hibernation is smacks_hibernation_time of the auth host, 15 s, and what it
	// takes to see that the stream is dead.
	hibernation = 16 * time.Second
)

// Conduct is what a [Jibri] does with the next recording.
type Conduct string

// Conducts.
const (
	Works      Conduct = ""            //
	SaysBusy   Conduct = "says busy"   // to every start, although idle
	Fails      Conduct = "fails"       // to start, and says that another might not
	FailsLater Conduct = "fails later" // after pending, likewise
	Silent     Conduct = "silent"      // never answers
	NeverOn    Conduct = "never on"    // accepts and does not get there
	NoMedia    Conduct = "no media"    // writes nothing, so there is no file and no hook
)

// JibriConfig configures a [Jibri].
type JibriConfig struct {
	Site             Site
	Name             string // its instance id, the nick in the brewery
	Brewery          string // bare address
	Password         string // of jibri@auth.<domain>
	RecorderPassword string // of recorder@hidden.<domain>
	Dir              string // where recordings go; each in a directory named after its session
	// Finalize is the hook: a command that gets the session's directory as its
	// last argument. Empty: none.
	Finalize []string
	Env      []string // the hook's environment
	// Subscriber is the base URL of a webhook's subscriber; empty: none.
	Subscriber string
	// BrowserDelay is the time from the request to the answer pending, which comes
	// when Chrome is up; Jicofo waits for it, and the room with it. Default 2 s.
	BrowserDelay time.Duration
	// EmptyPatience is how long it records an empty room, or goes on once it was
	// put out of it. Default 30 s.
	EmptyPatience time.Duration
	// Hibernation is how long after [Jibri.Kill] the server keeps the Jibri in the
	// brewery. Default 16 s.
	Hibernation time.Duration
}

// Jibri plays one recorder: it waits in the brewery, and when the focus asks,
// logs in a second time, enters the room as the recorder, writes a file and
// runs the hook. It follows jibri's XmppApi and FileRecordingJibriService. It is
// safe for concurrent use.
type Jibri struct {
	cfg    JibriConfig
	link   *component.Link
	ctx    context.Context // ends with Close or Die
	cancel context.CancelFunc
	hangUp context.CancelFunc // ends the login in the brewery
	done   sync.WaitGroup

	changed bell
	mu      sync.Mutex
	in      bool // the brewery has confirmed us
	dead    bool
	conduct Conduct
	sick    bool
	job     *job // what is recorded, or being finished
	hooks   []string
}

// StartJibri logs in and blocks until the brewery has confirmed it, or ctx
// ends. End it with Close or Die.
func StartJibri(ctx context.Context, cfg JibriConfig) (*Jibri, error) {
	cfg.EmptyPatience = cmp.Or(cfg.EmptyPatience, emptyPatience)
	cfg.BrowserDelay = cmp.Or(cfg.BrowserDelay, browserDelay)
	cfg.Hibernation = cmp.Or(cfg.Hibernation, hibernation)
	j := &Jibri{cfg: cfg}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	online, hangUp := context.WithCancel(j.ctx)
	j.hangUp = hangUp
	var err error
	j.link, err = component.NewClient(component.ClientConfig{
		Addr: cfg.Site.ClientAddr, JID: "jibri@" + cfg.Site.authDomain() + "/" + cfg.Name,
		Password: cfg.Password, ServerName: cfg.Site.authDomain(), CAFile: cfg.Site.CAFile,
		Options: component.Options{Log: cfg.Site.log(), Handler: component.Handler{
			Presence: j.onPresence,
			IQ:       map[xml.Name]func(component.Request){{Space: nsJibri, Local: "jibri"}: j.onJibri},
			Up:       func(string) { j.done.Go(func() { j.send(mucJoin) }) },
			Down: func(error) {
				j.mu.Lock()
				defer j.mu.Unlock()
				j.in = false
				if j.job != nil {
					j.job.stop() // a Jibri that loses the server ends what it records
				}
				j.changed.ring()
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	j.done.Go(func() { _ = j.link.Run(online) })
	j.done.Go(j.reportRegularly)
	err = j.changed.await(ctx, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.in
	})
	if err != nil {
		j.Close()
		return nil, fmt.Errorf("jibri %s is not in the brewery: %w", cfg.Name, err)
	}
	return j, nil
}

// Behave sets what the Jibri does from the next start on.
func (j *Jibri) Behave(c Conduct) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.conduct = c
}

// SetHealthy says whether its own health check passes.
func (j *Jibri) SetHealthy(healthy bool) {
	j.mu.Lock()
	j.sick = !healthy
	j.mu.Unlock()
	j.present()
}

// Session returns Jibri's id of what it records or finishes; empty when idle.
func (j *Jibri) Session() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.job == nil {
		return ""
	}
	return j.job.session
}

// Hooks returns the directories that the hook was run for and has ended.
func (j *Jibri) Hooks() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.hooks...)
}

// WaitIdle blocks until nothing is recorded and the hook has ended, or ctx ends.
func (j *Jibri) WaitIdle(ctx context.Context) error {
	return j.changed.await(ctx, func() bool { return j.Session() == "" })
}

// Finish ends what is recorded by Jibri's own decision, as when nobody has said
// a word for long.
func (j *Jibri) Finish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.job != nil {
		j.job.stop()
	}
}

// Kill ends Jibri's own process, as kill -9 does: no word to anybody, no
// metadata, no hook; what was written stays. The server notices only after
// Hibernation. Its browser lives on and stays in the room until it is put out of
// it; Close and Die end that too. It does not block.
func (j *Jibri) Kill() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dead = true
	if j.job != nil {
		j.job.stop()
	}
	j.done.Go(func() {
		pause(j.ctx, j.cfg.Hibernation)
		j.hangUp()
	})
}

// Die ends the Jibri and its browser like a host that vanishes, and is missed at
// once: else as Kill. It returns when nothing of it is left running.
func (j *Jibri) Die() {
	j.mu.Lock()
	j.dead = true
	j.mu.Unlock()
	j.Close()
}

// Close ends the Jibri; what it records it finishes first, the hook included.
func (j *Jibri) Close() {
	j.mu.Lock()
	if j.job != nil {
		j.job.stop()
	}
	dead := j.dead
	j.mu.Unlock()
	if !dead {
		_ = j.WaitIdle(context.Background())
	}
	j.cancel()
	j.done.Wait()
}

func (j *Jibri) onPresence(d *xml.Decoder, start xml.StartElement) {
	var p occupantPresence
	if d.DecodeElement(&p, &start) != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if room, _ := p.occupant(); room == j.cfg.Brewery && p.Type == "" && p.status("110") && !j.in {
		j.in = true
		j.done.Go(j.present)
		j.changed.ring()
	}
}

// status returns the two words of its presence. j.mu is held.
func (j *Jibri) status() (busy, health string) {
	busy, health = "idle", "healthy"
	if j.job != nil {
		busy = "busy"
	}
	if j.sick {
		health = "unhealthy"
	}
	return busy, health
}

// present says the presence in the brewery anew, and tells the subscriber.
func (j *Jibri) present() {
	j.mu.Lock()
	busy, health := j.status()
	// Under the lock, so that no older one can come later.
	j.send(smackPriority, jibriStatus{Busy: busyStatus{busy}, Health: healthStatus{health}})
	j.mu.Unlock()
	j.report(busy, health)
}

// send sends a presence to the brewery: one to enter, and then its status.
func (j *Jibri) send(payload ...any) {
	_ = j.link.As("").Send(j.ctx, "presence", j.cfg.Brewery+"/"+j.cfg.Name, "", payload...)
}

// reportRegularly repeats the report to the subscriber while the Jibri lives.
func (j *Jibri) reportRegularly() {
	for pause(j.ctx, reportInterval) {
		j.mu.Lock()
		busy, health := j.status()
		dead := j.dead
		j.mu.Unlock()
		if dead {
			return
		}
		j.report(busy, health)
	}
}

// pause blocks for d, or until ctx ends, and reports which.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// report tells the subscriber once; what fails is not tried again.
func (j *Jibri) report(busy, health string) {
	if j.cfg.Subscriber == "" {
		return
	}
	words := map[string]string{"idle": "IDLE", "busy": "BUSY", "healthy": "HEALTHY", "unhealthy": "UNHEALTHY"}
	body, err := json.Marshal(map[string]any{
		"jibriId": j.cfg.Name,
		"status": map[string]any{
			"busyStatus": words[busy],
			"health":     map[string]any{"healthStatus": words[health], "details": map[string]any{}},
		},
	})
	if err != nil {
		panic(err) // strings
	}
	ctx, cancel := context.WithTimeout(j.ctx, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.cfg.Subscriber+"/v1/status", bytes.NewReader(body))
	if err != nil {
		j.cfg.Site.log().Warn("jibri's webhook", "err", err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		j.cfg.Site.log().Warn("jibri's webhook", "err", err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		j.cfg.Site.log().Warn("jibri's webhook", "status", resp.Status)
	}
}

// onJibri handles what the focus asks (XmppApi).
func (j *Jibri) onJibri(r component.Request) {
	var q jibriIQ
	if err := r.Decode(&q); err != nil {
		refuse(r, nil, stanza.BadRequest, "")
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.dead:
	case q.Action == "stop" && j.job != nil:
		job := j.job
		job.stop()
		j.done.Go(func() { // stopService blocks until the hook has ended
			<-job.ended
			r.Answer("result", jibriIQ{Status: "off"})
		})
	case q.Action == "stop":
		r.Answer("result", jibriIQ{Status: "off"})
	case q.Action != "start":
		refuse(r, q, stanza.BadRequest, "")
	case j.conduct == Silent:
	case j.conduct == SaysBusy, j.job != nil:
		r.Answer("result", jibriIQ{Status: "off", Failure: "busy", Retry: "true"})
	case j.conduct == Fails:
		r.Answer("result", jibriIQ{Status: "off", Failure: "error", Retry: "true"})
	default:
		job := newJob(j, q, r.From)
		j.job = job
		j.changed.ring()
		j.done.Go(func() {
			pause(j.ctx, j.cfg.BrowserDelay)
			if !j.isDead() {
				j.present()
				r.Answer("result", jibriIQ{Status: "pending"})
			}
			job.run()
		})
	}
}

func (j *Jibri) isDead() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dead
}

// over takes note that a recording is finished and the hook has ended.
func (j *Jibri) over(hooked string) {
	j.mu.Lock()
	if hooked != "" {
		j.hooks = append(j.hooks, hooked)
	}
	j.job = nil
	dead := j.dead
	j.mu.Unlock()
	if !dead {
		j.present()
	}
	j.changed.ring()
}
