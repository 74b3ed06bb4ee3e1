package config

// Whereby are the settings of the API that is compatible with Whereby's;
// it is always there, under /whereby/v1 of the API's listener.
type Whereby struct {
	WherebyAddr               string `placeholder:"HOST:PORT" help:"Second address on which that API is served under /v1, for apps that cannot have a path of their own in their base URL."`
	SealSecret                Secret `help:"Encrypts what usher must be able to read again, such as bucket credentials that apps bring along, makes the links of Whereby meetings the same each time they are shown, and signs links to files of recordings. Without one they are good until usher restarts."`
	AllowRecordingDestination bool   `help:"Store recordings in the buckets that apps name, with the credentials that they bring along (recording.destination); needs a seal-secret."`
}

// check reports what cannot work.
func (w *Whereby) check(p *problems) {
	p.when(w.SealSecret != "" && len(w.SealSecret) < minKey, "seal-secret has %d characters, at least %d are needed", len(w.SealSecret), minKey)
	p.when(w.AllowRecordingDestination && w.SealSecret == "", "allow-recording-destination needs a seal-secret: credentials are not kept in clear")
}
