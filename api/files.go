package api

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"usher/storage"
)

// downloadTimeout is how long a client may take none of what it asked for: long
// enough for a phone in a tunnel, and a download goes on where it was cut off.
const downloadTimeout = 30 * time.Second

// serveFile gives away a file of a recording that has no URL of its own, or a part
// of it (RFC 9110 §14): GET /d/{ticket}.
func (s *server) serveFile(w http.ResponseWriter, r *http.Request) error {
	head := w.Header() // nosniff and no-store are on every answer
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("X-Robots-Tag", "noindex")
	head.Set("Access-Control-Allow-Origin", "*") // a page may show the video to whoever has the link
	if !s.addresses.allow(w, r) {
		return NewProblem(http.StatusTooManyRequests, "more requests than one address may make")
	}
	file, content, err := s.Service.OpenFile(r.Context(), r.PathValue("ticket"))
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // was only read
	head.Set("Content-Type", storage.MediaType(file.Path))
	head.Set("Content-Disposition", attachment(path.Base(file.Path)))
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	head.Set("ETag", `"`+file.SHA256+`"`)
	http.ServeContent(&downloadWriter{w, http.NewResponseController(w)}, r, "", file.StoredAt, content)
	return nil
}

// downloadWriter lets an answer take as long as its client keeps taking it: the
// server's own deadline is for short ones.
type downloadWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w *downloadWriter) Write(b []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(downloadTimeout)) // there is none in tests
	return w.ResponseWriter.Write(b)
}

// attachment has a browser save the file under its name (RFC 6266 §4.3), and
// those that know no filename* under one in plain ASCII.
func attachment(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '/' || r == '%' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + ascii + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}
