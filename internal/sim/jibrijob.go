package sim

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"usher/component"
)

// growPace is how often a simulated recording grows.
const growPace = 100 * time.Millisecond

// enterPatience bounds the recorder's way into the room.
const enterPatience = 15 * time.Second

// job is one recording of a [Jibri].
type job struct {
	jibri   *Jibri
	session string
	nick    string // the recorder's in the room
	room    string // bare address
	mode    string // file or stream
	appData string
	focus   string // who asked: the focus in the brewery
	conduct Conduct

	stopping chan struct{} // closed when it is to end
	once     sync.Once
	ended    chan struct{} // closed when the hook has ended

	mu      sync.Mutex
	entered chan struct{}   // closed when the room has confirmed the recorder
	in      bool            // it has, and the recorder's browser watches the call
	humans  map[string]bool // nicks of people in the room
	empty   *time.Timer     // until the room has been empty for too long
}

// newJob returns a recording that does nothing before run. j.mu is held.
func newJob(j *Jibri, q jibriIQ, focus string) *job {
	return &job{
		jibri: j, session: q.Session, nick: randomNick(), room: q.Room, mode: q.Mode, appData: q.AppData, focus: focus, conduct: j.conduct,
		stopping: make(chan struct{}), ended: make(chan struct{}), entered: make(chan struct{}), humans: map[string]bool{},
	}
}

// randomNick is eight hex digits, as web clients have them.
func randomNick() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// stop lets it end; only the first time counts.
func (w *job) stop() { w.once.Do(func() { close(w.stopping) }) }

// tell tells the focus, which may know nothing of it any more. A dead Jibri says
// nothing.
func (w *job) tell(q jibriIQ) {
	if w.jibri.isDead() {
		return
	}
	ctx, cancel := context.WithTimeout(w.jibri.ctx, enterPatience)
	defer cancel()
	if err := w.jibri.link.As("").IQ(ctx, w.focus, "set", q, nil); err != nil {
		w.jibri.cfg.Site.log().Info("jibri cannot tell the focus", "err", err)
	}
}

// run records until stop. It blocks until the hook has ended.
func (w *job) run() {
	hooked := ""
	defer func() {
		close(w.ended)
		w.jibri.over(hooked)
	}()
	dir := filepath.Join(w.jibri.cfg.Dir, w.session)
	if os.MkdirAll(dir, 0o750) != nil {
		w.tell(jibriIQ{Status: "off", Failure: "error", Retry: "true"})
		return
	}
	switch w.conduct {
	case FailsLater:
		w.tell(jibriIQ{Status: "off", Failure: "error", Retry: "true"})
		_ = os.RemoveAll(dir)
		return
	case NeverOn:
		<-w.stopping
		_ = os.RemoveAll(dir)
		return
	}
	media, err := w.record(dir)
	if err != nil {
		w.jibri.cfg.Site.log().Warn("jibri does not get into the room", "room", w.room, "err", err)
		w.tell(jibriIQ{Status: "off", Failure: "error", Retry: "true"})
	}
	switch {
	case w.jibri.isDead():
	case !media:
		_ = os.RemoveAll(dir) // FileRecordingJibriService: nothing written, nothing to finalize
	default:
		if err := w.metadata(dir); err != nil {
			w.jibri.cfg.Site.log().Warn("jibri cannot write metadata.json", "err", err)
		}
		w.finalize(dir)
		hooked = dir
	}
}

// record is in the room as the recorder until stop, and reports whether there
// is something on disk.
func (w *job) record(dir string) (media bool, err error) {
	cfg := w.jibri.cfg
	link, err := component.NewClient(component.ClientConfig{
		Addr: cfg.Site.ClientAddr, JID: "recorder@" + cfg.Site.hiddenDomain() + "/" + cfg.Name + "-" + w.nick,
		// As in docker-jitsi-meet the hidden domain shows the main one's certificate.
		Password: cfg.RecorderPassword, ServerName: cfg.Site.Domain, CAFile: cfg.Site.CAFile,
		Options: component.Options{Log: cfg.Site.log(), Handler: component.Handler{Presence: w.onPresence, Down: w.onDown}},
	})
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(w.jibri.ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = link.Run(ctx) })
	defer running.Wait()
	defer cancel()
	defer w.leave(ctx, link)
	if err := w.enter(ctx, link); err != nil {
		return false, err
	}
	// ffmpeg's end ends the service, whoever wanted it, and Jibri says so.
	defer func() { w.jibri.done.Go(func() { w.tell(jibriIQ{Status: "off"}) }) }()
	if w.conduct == NoMedia || w.mode == modeStream {
		w.tell(jibriIQ{Status: "on"})
		<-w.stopping
		return false, nil
	}
	room, _, _ := strings.Cut(w.room, "@")
	name := room + "_" + time.Now().Format("2006-01-02-15-04-05") + ".mp4"
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return false, err
	}
	defer file.Close()
	w.grow(file)
	w.tell(jibriIQ{Status: "on"})
	tick := time.NewTicker(growPace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.grow(file)
		case <-w.stopping:
			return true, nil
		}
	}
}

// grow writes some more; what is in it is no video.
func (w *job) grow(file *os.File) {
	_, _ = file.Write([]byte("simulated recording of " + w.room + ", session " + w.session + "\n"))
}

// enter logs in, enters the room and says what it records.
func (w *job) enter(ctx context.Context, link *component.Link) error {
	ctx, cancel := context.WithTimeout(ctx, enterPatience)
	defer cancel()
	presence := newWebPresence(w.nick, "")
	recorder := features(featureJibri)
	to, sender := w.room+"/"+w.nick, link.As("")
	for {
		err := sender.Send(ctx, "presence", to, "", append(presence.payload(true), recorder)...)
		if err == nil {
			break
		}
		select { // it is logging in
		case <-time.After(loginPoll):
		case <-ctx.Done():
			return err
		}
	}
	select {
	case <-w.entered:
	case <-w.stopping:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Jibri adds what it records once it is in (CallPage.addToPresence).
	presence.set(newElement("", "session_id", w.session))
	presence.set(newElement("", "mode", w.mode))
	return sender.Send(ctx, "presence", to, "", append(presence.payload(false), recorder)...)
}

// leave says goodbye to the room, which an orphaned browser does when its host is
// switched off, and not before.
func (w *job) leave(ctx context.Context, link *component.Link) {
	if w.jibri.isDead() {
		<-ctx.Done()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, enterPatience)
	defer cancel()
	_ = link.As("").Send(ctx, "presence", w.room+"/"+w.nick, "unavailable") // else the stream's end says it
}

// onPresence follows who is in the room with the recorder.
func (w *job) onPresence(d *xml.Decoder, start xml.StartElement) {
	var p occupantPresence
	if d.DecodeElement(&p, &start) != nil {
		return
	}
	room, nick := p.occupant()
	if room != w.room {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	self := nick == w.nick
	switch {
	case self && p.Type == "unavailable" && w.in:
		clear(w.humans) // put out, or the room is gone: an empty call, to Jibri
	case self && p.status("110") && !w.in:
		w.in = true
		close(w.entered)
	case self || p.Type == "error" || nick == focusNick:
		return
	case p.Type == "unavailable":
		delete(w.humans, nick)
	default:
		// Its browser does not see who is hidden.
		if _, domain, _ := strings.Cut(bare(p.MUC.Item.JID), "@"); domain != w.jibri.cfg.Site.hiddenDomain() {
			w.humans[nick] = true
		}
	}
	w.watchEmpty()
}

// onDown has the browser lose its connection: it sees nobody any more.
func (w *job) onDown(error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.humans)
	w.watchEmpty()
}

// watchEmpty ends the recording once nobody has been there for EmptyPatience;
// w.mu is held.
func (w *job) watchEmpty() {
	switch {
	case len(w.humans) > 0 && w.empty != nil:
		w.empty.Stop()
		w.empty = nil
	case len(w.humans) == 0 && w.empty == nil && w.in:
		w.empty = time.AfterFunc(w.jibri.cfg.EmptyPatience, w.stop)
	}
}

// metadata writes metadata.json: what the focus passed on is at its top level
// (FileRecordingJibriService).
func (w *job) metadata(dir string) error {
	room, _, _ := strings.Cut(w.room, "@")
	data := map[string]any{"meeting_url": "https://" + w.jibri.cfg.Site.Domain + "/" + room, "participants": []any{}}
	var app struct {
		Metadata map[string]any `json:"file_recording_metadata"`
	}
	if json.Unmarshal([]byte(w.appData), &app) == nil {
		maps.Copy(data, app.Metadata)
	}
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "metadata.json"), text, 0o600)
}

// finalize runs the hook with one argument and blocks until it has ended and
// nobody holds its output any more. Its exit code is only logged.
func (w *job) finalize(dir string) {
	cfg := w.jibri.cfg
	if len(cfg.Finalize) == 0 {
		return
	}
	cmd := exec.CommandContext(w.jibri.ctx, cfg.Finalize[0], append(cfg.Finalize[1:len(cfg.Finalize):len(cfg.Finalize)], dir)...)
	cmd.Env = cfg.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		cfg.Site.log().Warn("jibri's hook failed", "err", err, "output", string(out))
	}
}
