package whereby

import "regexp"

// destination is where an app wants its recordings.
type destination struct {
	Provider string `json:"provider,omitempty"` // s3 or whereby
	bucket
}

// bucket is a [meeting.Destination] by Whereby's names.
type bucket struct {
	Endpoint  string `json:"-"`
	Region    string `json:"region,omitempty"` // not Whereby's; empty: whatever S3 makes of it
	Bucket    string `json:"bucket,omitempty"` // perhaps with a folder behind it
	AccessKey string `json:"accessKeyId,omitempty"`
	SecretKey string `json:"accessKeySecret,omitempty"`
}

// String keeps the keys out of logs.
func (bucket) String() string { return "destination" }

// GoString keeps the keys out of %#v as well.
func (bucket) GoString() string { return "destination" }

// Forms of what names a bucket and a key. They keep out what could break out of
// a URL or a header; S3 itself is stricter.
var (
	bucketForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9./_-]{0,254}$`)
	regionForm = regexp.MustCompile(`^[a-z0-9-]{0,40}$`)
	keyForm    = regexp.MustCompile(`^[!-~]{1,500}$`)
)

// hasKey reports whether there is an access key: a role of Amazon's, the other
// way in, is Whereby's to assume.
func (b bucket) hasKey() bool {
	return b.Bucket != "" && b.AccessKey != "" && b.SecretKey != ""
}

func (b bucket) valid() bool {
	return bucketForm.MatchString(b.Bucket) && regionForm.MatchString(b.Region) &&
		keyForm.MatchString(b.AccessKey) && keyForm.MatchString(b.SecretKey)
}
