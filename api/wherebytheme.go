package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strconv"
	"strings"
)

const (
	// MaxImage is the largest upload of a picture in bytes, eight times what
	// Whereby says a background may have.
	MaxImage = 5 << 20
	// sniffed is how much of a file tells what it is (net/http).
	sniffed = 512
)

// bodyLimit is how large the body of a request to the path may be, in bytes.
func bodyLimit(p string) int64 {
	if p = strings.ToLower(path.Clean("/" + p)); isWhereby(p) && strings.Contains(p, "/theme/") {
		return MaxImage
	}
	return MaxBody
}

// putTheme takes what a room is to look like, and keeps none of it: the look of
// a Jitsi site is in its own configuration. Apps upload a logo after each
// create and fail when that fails, so it is looked at and answered as done,
// whether there is such a room or not.
func (f *facade) putTheme(w http.ResponseWriter, r *http.Request, _ string) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data":
		if strings.HasSuffix(strings.ToLower(r.URL.Path), "/tokens") {
			return wrong("the body must be JSON")
		}
		err = takeImage(r, params["boundary"])
	case err == nil && kind == "application/json":
		var data []byte
		if data, err = readBody(r); err == nil {
			var look map[string]any
			if err = decodeJSON(data, &look); err != nil {
				err = wrong("the body is wrong: " + err.Error())
			}
		}
	default:
		err = wrong("the Content-Type must be multipart/form-data or application/json")
	}
	if err != nil {
		return err
	}
	w.Header().Set(ignoredHeader, "theme")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// takeImage reads a form and makes sure that its part image is one.
func takeImage(r *http.Request, boundary string) error {
	form := multipart.NewReader(r.Body, boundary)
	found := false
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		var data []byte
		if err == nil {
			data, err = io.ReadAll(part)
		}
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			return newProblem(http.StatusRequestEntityTooLarge, "the picture is larger than "+strconv.Itoa(MaxImage)+" bytes")
		case err != nil:
			return wrong("the form could not be read")
		}
		if part.FormName() == "image" {
			if !isImage(data) {
				return wrong("image must be a PNG, JPEG, GIF, WebP or SVG picture")
			}
			found = true
		}
	}
	if !found {
		return wrong("the form has no part named image")
	}
	return nil
}

// isImage goes by the bytes, whatever the upload says of itself.
func isImage(data []byte) bool {
	start := data[:min(len(data), sniffed)]
	return strings.HasPrefix(http.DetectContentType(start), "image/") || bytes.Contains(bytes.ToLower(start), []byte("<svg"))
}
