package config

import (
	"strings"
	"time"
)

// maxRecordingDelay is the longest recording-delay: more than that is no start
// of a meeting.
const maxRecordingDelay = time.Minute

// Recording is what serve needs to record.
type Recording struct {
	Brewery         string  `placeholder:"jibribrewery@internal-muc.DOMAIN" help:"Room in which the site's Jibris wait for work; usher watches them there where the site lets it in."`
	BreweryPassword Secret  `help:"Password of usher's account in the domain of focus-jid, named as occupant-user: usher watches the brewery as it, because stock sites let nobody else in. Without one usher tries as a part of its component."`
	RecorderKeys    []Named `name:"recorder-key" env:"USHER_RECORDER_KEY" placeholder:"NAME=SECRET" help:"Who may hand files over: the name and secret that usher finalize has on each Jibri's host."`
	JibriHookSecret Secret  `help:"Unguessable part of the URL that Jibris report their state to: JIBRI_WEBHOOK_SUBSCRIBERS=http://usher:8480/internal/jibri/SECRET."`
	// RecordingDelay: while a recorder starts, which takes it some seconds, Jicofo
	// works off nothing else of the room; the people of most meetings come in the
	// first moments. Three seconds let in whoever followed the same link at once.
	RecordingDelay time.Duration `default:"3s" help:"How long after the first human a recording of the trigger automatic starts, 1m at most: until its recorder is up, Jicofo makes nobody a moderator and lets nobody speak to others who comes in."`
	RecordingsDir  string        `help:"Directory in which usher sees the files that recorders share or move, for downloads."`
	S3             S3            `embed:"" prefix:"s3-"` // kong would call its variables USHER_S_3_
}

// S3 is object storage as usher itself reaches it, for links to what recorders
// stored there, and to delete it.
type S3 struct {
	Endpoint  string `env:"USHER_S3_ENDPOINT" help:"Host and port of the S3 server, such as s3.eu-central-1.amazonaws.com; http:// in front of it for one without TLS."`
	Region    string `env:"USHER_S3_REGION" help:"Its region."`
	AccessKey string `env:"USHER_S3_ACCESS_KEY" help:"Access key for reading and deleting recordings; usher finalize needs one for storing."`
	SecretKey Secret `env:"USHER_S3_SECRET_KEY" help:"Its secret."`
}

// check reports what cannot work.
func (r *Recording) check(p *problems) {
	seen := map[string]bool{}
	for _, k := range r.RecorderKeys {
		p.when(seen[k.Name], "recorder-key names %s twice", k.Name)
		seen[k.Name] = true
		p.when(len(k.Value) < minKey, "the recorder-key of %s must have %d characters or more", k.Name, minKey)
	}
	p.when(r.JibriHookSecret != "" && (len(r.JibriHookSecret) < minKey || strings.ContainsAny(string(r.JibriHookSecret), "/?#%")),
		"jibri-hook-secret must have %d characters or more, and none of / ? # %%", minKey)
	p.when((r.S3.Endpoint == "") != (r.S3.AccessKey == "" && r.S3.SecretKey == ""),
		"s3-endpoint, s3-access-key and s3-secret-key belong together")
	p.when(r.RecordingDelay < 0 || r.RecordingDelay > maxRecordingDelay, "recording-delay must be from 0s to 1m")
}
