package meeting

import "time"

// Recorder is one Jibri of the site's pool.
type Recorder struct {
	Name   string // its nick in the brewery, which is Jibri's instance id
	Status RecorderStatus
	Since  time.Time // of the status
	// Source is where that comes from: "brewery" or "webhook".
	Source string
}

// RecorderStatus is what a Jibri of the pool can be asked for.
type RecorderStatus string

// Statuses of recorders.
const (
	RecorderIdle      RecorderStatus = "idle"
	RecorderBusy      RecorderStatus = "busy"
	RecorderUnhealthy RecorderStatus = "unhealthy" // its own check failed; the focus does not ask it
	RecorderGone      RecorderStatus = "gone"      // left the brewery a short while ago
)

// Destination is a bucket of S3 that an app brought along. It never shows what
// is in it when printed.
type Destination struct {
	Endpoint  string `json:"endpoint,omitempty"` // empty: Amazon's
	Region    string `json:"region,omitempty"`
	Bucket    string `json:"bucket"` // perhaps with a folder behind it: bucket/folder
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// String keeps the keys out of logs.
func (Destination) String() string { return "destination" }

// GoString keeps the keys out of %#v as well.
func (Destination) GoString() string { return "destination" }
