package api

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"

	"usher/meeting"
	"usher/token"
)

// seals keep secret what usher must know again: links that are shown more than
// once, and credentials that apps bring along.
type seals struct{ secret string }

// newSeals returns seals that open nothing any more after a restart when the
// secret is empty.
func newSeals(secret string) seals {
	if secret == "" {
		secret = rand.Text()
	}
	return seals{secret}
}

// Purposes, which keep what is made from one secret apart.
const (
	sealedDestination = "recording destination"
	codeOfHosts       = "host link of "
	codeOfGuests      = "guest link of "
)

// linkCode returns the code of the meeting's link for hosts or for guests.
func (s seals) linkCode(meetingID string, host bool) string {
	purpose := codeOfGuests
	if host {
		purpose = codeOfHosts
	}
	return codeOf(meetingID, token.CodeFor(s.secret, purpose+meetingID))
}

// wherebyDestination is where an app wants its recordings.
type wherebyDestination struct {
	Provider        string `json:"provider"` // s3 or whereby
	Bucket          string `json:"bucket"`   // perhaps with a folder behind it
	AccessKeyID     string `json:"accessKeyId"`
	AccessKeySecret string `json:"accessKeySecret"`
	Region          string `json:"region"` // not Whereby's; empty: whatever S3 makes of it
}

// String keeps the keys out of logs.
func (wherebyDestination) String() string { return "destination" }

// GoString keeps the keys out of %#v as well.
func (wherebyDestination) GoString() string { return "destination" }

// complete reports whether there is an access key: a role of Amazon's, the other
// way in, is Whereby's to assume.
func (d *wherebyDestination) complete() bool {
	return d.Bucket != "" && d.AccessKeyID != "" && d.AccessKeySecret != ""
}

// Forms of what names a bucket and a key. They keep out what could break out of
// a URL or a header; S3 itself is stricter.
var (
	bucketForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9./_-]{0,254}$`)
	regionForm = regexp.MustCompile(`^[a-z0-9-]{0,40}$`)
	keyForm    = regexp.MustCompile(`^[!-~]{1,500}$`)
)

// seal returns the destination as it is kept, or "" when it cannot be one.
func (s seals) seal(d *wherebyDestination) string {
	if !bucketForm.MatchString(d.Bucket) || !regionForm.MatchString(d.Region) ||
		!keyForm.MatchString(d.AccessKeyID) || !keyForm.MatchString(d.AccessKeySecret) {
		return ""
	}
	plain, _ := json.Marshal(meeting.Destination{ //nolint:gosec // sealed at once; text always encodes
		Region: d.Region, Bucket: d.Bucket, AccessKey: d.AccessKeyID, SecretKey: d.AccessKeySecret,
	})
	return token.Seal(s.secret, sealedDestination, plain)
}

// openDestination returns what [meeting.Recording] has sealed, nil for "". It
// fails with [token.ErrSealed] when the secret has changed since.
func (s seals) openDestination(sealed string) (*meeting.Destination, error) {
	if sealed == "" {
		return nil, nil
	}
	plain, err := token.Unseal(s.secret, sealedDestination, sealed)
	if err != nil {
		return nil, fmt.Errorf("open a recording's destination: %w", err)
	}
	var d meeting.Destination
	if err := json.Unmarshal(plain, &d); err != nil {
		return nil, fmt.Errorf("open a recording's destination: %w", token.ErrSealed)
	}
	return &d, nil
}
