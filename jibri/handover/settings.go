// Package handover is what runs on a recorder's host when a recording is over:
// it reports that to usher, puts the files where apps can get them, and reports
// where that is.
//
// Jibri calls it with the name of the session directory and waits until it
// answers, so all that is done at once is to note the name in a spool, as a
// job.json. A detached worker does the rest, for as long as it takes: whatever
// fails is tried again, with the settings as they are then, and a worker that
// dies loses nothing.
//
// What is in a session directory is not to be trusted: people in the meeting
// had a hand in it.
package handover

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"usher/config"
)

// What becomes of the files.
const (
	Shared = "shared" // they stay; usher sees the recordings' directory too
	Move   = "move"   // they go into another directory
	S3     = "s3"     // they go into a bucket
)

// minSecret is the least length of a recorder's secret, as at usher's side.
const minSecret = 16

// recorderName keeps to what fits into a header and into usher's own setting
// NAME=SECRET.
var recorderName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Settings are those of `usher finalize`.
type Settings struct {
	URL            string        `name:"url" help:"Where usher's API is, such as http://usher.internal:8480."`
	Recorder       string        `placeholder:"HOSTNAME" help:"Name of this recorder; usher has its secret under it."`
	RecorderSecret config.Secret `help:"Signs the reports to usher."`
	SpoolDir       string        `default:"/var/lib/usher/spool" help:"Directory for what is still to be done, and the log of it. It must survive a restart."`
	RecordingsDir  string        `help:"Directory that Jibri records into; session directories elsewhere are then refused."`
	HandOver       string        `name:"handover" default:"shared" help:"shared: the files stay, usher sees recordings-dir too; move: they go into target-dir; s3: into a bucket."`
	TargetDir      string        `help:"With move: where the files go."`
	S3             Bucket        `embed:"" prefix:"s3-"`
}

// SpoolDir is the default of the setting of that name.
const SpoolDir = "/var/lib/usher/spool"

// Bucket is where files go with [S3].
type Bucket struct {
	config.S3
	Bucket string `env:"USHER_S3_BUCKET" help:"Bucket for finished files."`
	Prefix string `env:"USHER_S3_PREFIX" help:"Put in front of each file's name, such as recordings/. Whereby's users expect none."`
}

// Check reports everything that cannot work.
func (s Settings) Check() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(s.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong("url must be where usher's API is, such as http://usher.internal:8480")
	}
	if !recorderName.MatchString(s.Recorder) {
		wrong("recorder must be 1 to 64 of A-Z a-z 0-9 . _ -, not %q", s.Recorder)
	}
	if len(s.RecorderSecret) < minSecret {
		wrong("recorder-secret is missing or shorter than %d characters", minSecret)
	}
	switch s.HandOver {
	case Shared:
	case Move:
		if s.TargetDir == "" {
			wrong("target-dir is missing: handover is move")
		}
	case S3:
		if s.S3.Bucket == "" || s.S3.AccessKey == "" || s.S3.SecretKey == "" {
			wrong("s3-bucket, s3-access-key and s3-secret-key are needed: handover is s3")
		}
	default:
		wrong("handover must be shared, move or s3, not %q", s.HandOver)
	}
	return errors.Join(problems...)
}
