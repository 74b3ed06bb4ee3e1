package whereby

import (
	"regexp"

	"usher/meeting"
)

// destination is where an app wants its recordings.
type destination struct {
	Provider        string `json:"provider"` // s3 or whereby
	Bucket          string `json:"bucket"`   // perhaps with a folder behind it
	AccessKeyID     string `json:"accessKeyId"`
	AccessKeySecret string `json:"accessKeySecret"`
	Region          string `json:"region"` // not Whereby's; empty: whatever S3 makes of it
}

// String keeps the keys out of logs.
func (destination) String() string { return "destination" }

// GoString keeps the keys out of %#v as well.
func (destination) GoString() string { return "destination" }

// complete reports whether there is an access key: a role of Amazon's, the other
// way in, is Whereby's to assume.
func (d *destination) complete() bool {
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
func (f *facade) seal(d *destination) string {
	if !bucketForm.MatchString(d.Bucket) || !regionForm.MatchString(d.Region) ||
		!keyForm.MatchString(d.AccessKeyID) || !keyForm.MatchString(d.AccessKeySecret) {
		return ""
	}
	return f.svc.SealDestination(meeting.Destination{
		Region: d.Region, Bucket: d.Bucket, AccessKey: d.AccessKeyID, SecretKey: d.AccessKeySecret,
	})
}
