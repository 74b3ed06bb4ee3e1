package storage

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"usher/config"
	"usher/internal/s3test"
	"usher/internal/stack/stacktest"
	"usher/meeting"
)

const content = "moving pictures"

func TestFilesOfADirectory(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "abc"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "abc", "a.mp4"), []byte(content), 0o600))
	a := open(t, config.Recording{RecordingsDir: dir})
	f := meeting.RecordingFile{Storage: meeting.StorageFile, Path: "abc/a.mp4"}

	if got := read(t, a, f); got != content {
		t.Errorf("content = %q", got)
	}
	if _, err := a.Link(t.Context(), f, time.Hour); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("link: %v, want %v", err, errors.ErrUnsupported)
	}
	must(t, a.Remove(t.Context(), f))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v left, want the empty folder gone as well (%v)", left, err)
	}
	must(t, a.Remove(t.Context(), f)) // again
	if _, err := a.Open(t.Context(), f); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v, want not exist", err)
	}
}

// TestOnlyFilesOfTheDirectory proves that what a recorder's host says of a file
// leads nowhere else.
func TestOnlyFilesOfTheDirectory(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "recordings")
	must(t, os.MkdirAll(filepath.Join(dir, "abc"), 0o700))
	secret := filepath.Join(base, "secret.mp4")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "abc", "other"), nil, 0o600)) // keeps abc
	must(t, os.Symlink(secret, filepath.Join(dir, "abc", "link.mp4")))
	must(t, os.Symlink(base, filepath.Join(dir, "up")))
	a := open(t, config.Recording{RecordingsDir: dir})
	for _, path := range []string{
		"../secret.mp4", "abc/../../secret.mp4", secret, "abc/link.mp4", "up/secret.mp4", "abc", ".", "", "a\x00b", "abc/link.mp4/x",
	} {
		f := meeting.RecordingFile{Storage: meeting.StorageFile, Path: path}
		if file, err := a.Open(t.Context(), f); err == nil {
			file.Close()
			t.Errorf("%q could be opened", path)
		}
		_ = a.Remove(t.Context(), f) // an error or nothing to do
	}
	for _, kept := range []string{secret, filepath.Join(dir, "abc", "link.mp4"), filepath.Join(dir, "abc", "other")} {
		if _, err := os.Lstat(kept); err != nil {
			t.Errorf("%s was removed", kept)
		}
	}
}

func TestFilesInS3(t *testing.T) {
	stacktest.Needed(t)
	s := s3test.Start(t)
	const name = "standup-2026-01-02T03:04:05Z.mp4"
	_, err := s.Client(t).PutObject(t.Context(), s.Bucket, name, strings.NewReader(content), -1, minio.PutObjectOptions{})
	must(t, err)
	settings := config.S3{Endpoint: s.Endpoint, Region: "us-east-1", AccessKey: s.AccessKey, SecretKey: config.Secret(s.SecretKey)}
	a := open(t, config.Recording{S3: settings})
	f := meeting.RecordingFile{Storage: meeting.StorageS3, Bucket: s.Bucket, Path: name}

	if got := read(t, a, f); got != content {
		t.Errorf("content = %q", got)
	}
	file, err := a.Open(t.Context(), f)
	must(t, err)
	defer file.Close()
	if _, err := file.Seek(7, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(file); err != nil || string(rest) != content[7:] {
		t.Errorf("from 7 on: %q, %v", rest, err)
	}

	link, err := a.Link(t.Context(), f, time.Hour)
	must(t, err)
	resp, err := http.Get(link)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK || string(body) != content {
		t.Errorf("link: %d %q", resp.StatusCode, body)
	}
	forged, err := http.Get(strings.Replace(link, "X-Amz-Expires=3600", "X-Amz-Expires=36000", 1))
	must(t, err)
	defer forged.Body.Close()
	if forged.StatusCode != http.StatusForbidden {
		t.Errorf("a link that was made to last longer: %d, want 403", forged.StatusCode)
	}

	must(t, a.Remove(t.Context(), f))
	must(t, a.Remove(t.Context(), f)) // again
	if _, err := a.Open(t.Context(), f); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v, want not exist", err)
	}
	settings.SecretKey = "another"
	wrong := open(t, config.Recording{S3: settings})
	if _, err := wrong.Open(t.Context(), f); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open with a wrong key: %v, want another error than not exist", err)
	}
	if err := wrong.Remove(t.Context(), f); err == nil {
		t.Error("a wrong key removes files")
	}
}

func TestStorageThatUsherCannotReach(t *testing.T) {
	a := open(t, config.Recording{})
	for _, where := range []string{meeting.StorageFile, meeting.StorageS3, "elsewhere", ""} {
		f := meeting.RecordingFile{Storage: where, Bucket: "b", Path: "x.mp4"}
		if _, err := a.Open(t.Context(), f); !errors.Is(err, ErrElsewhere) {
			t.Errorf("open in %q: %v, want ErrElsewhere", where, err)
		}
		if err := a.Remove(t.Context(), f); !errors.Is(err, ErrElsewhere) {
			t.Errorf("remove in %q: %v, want ErrElsewhere", where, err)
		}
	}
	if _, err := NewSite(config.Recording{S3: config.S3{Endpoint: "http://a b"}}); err == nil {
		t.Error("an endpoint with a space is taken")
	}
}

func open(t *testing.T, c config.Recording) Site {
	t.Helper()
	a, err := NewSite(c)
	must(t, err)
	return a
}

func read(t *testing.T, a Site, f meeting.RecordingFile) string {
	t.Helper()
	file, err := a.Open(t.Context(), f)
	must(t, err)
	defer file.Close()
	text, err := io.ReadAll(file)
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
