package whereby

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"usher/api"
)

const (
	// MaxImage is the largest upload of a picture in bytes, eight times what
	// Whereby says a background may have.
	MaxImage = 5 << 20
	// sniffed is how much of a file is needed to see what it is (net/http).
	sniffed = 512
)

// putTheme takes what a room is to look like, and keeps none of it: the look of
// a Jitsi site is in its own configuration. Apps upload a logo after each
// create and fail when that fails, so it is looked at and answered as done,
// whether there is such a room or not.
func putTheme(w http.ResponseWriter, r *http.Request) (any, error) {
	err := refuse("the Content-Type must be multipart/form-data or application/json")
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case kind == "multipart/form-data" && strings.HasSuffix(r.Pattern, "/tokens"):
		err = refuse("the body must be JSON")
	case kind == "multipart/form-data":
		err = checkImage(r)
	case kind == "application/json":
		err = readJSON(w, r, &map[string]any{})
	}
	if err == nil {
		w.Header().Set(Ignored, "theme")
	}
	return nil, err
}

// checkImage makes sure that the part image of a form is one, by its bytes.
func checkImage(r *http.Request) error {
	image, _, err := r.FormFile("image")
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return api.NewProblem(http.StatusRequestEntityTooLarge, "the picture is larger than "+strconv.Itoa(MaxImage)+" bytes")
	} else if err != nil {
		return refuse("the form could not be read, or has no part named image")
	}
	start, _ := io.ReadAll(io.LimitReader(image, sniffed)) // it is in memory
	if !strings.HasPrefix(http.DetectContentType(start), "image/") && !bytes.Contains(bytes.ToLower(start), []byte("<svg")) {
		return refuse("image must be a PNG, JPEG, GIF, WebP or SVG picture")
	}
	return nil
}
