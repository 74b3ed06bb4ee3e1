package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"

	"usher/config"
	"usher/internal/s3test"
	"usher/internal/stack/stacktest"
)

// recorded returns a file that is to be stored.
func recorded(t *testing.T, text string) *File {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "session")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "a.mp4"), []byte(text), 0o600))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	file, err := OpenFile(root, "a.mp4")
	must(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

// TestPutIntoFolder: a file gets the first free name, by a link or, on another
// file system, as a copy; what is there already is no second one.
func TestPutIntoFolder(t *testing.T) {
	elsewhere, err := os.MkdirTemp("/dev/shm", "usher") // in memory
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(elsewhere)) })
	for _, dir := range []string{t.TempDir(), elsewhere} {
		must(t, os.WriteFile(filepath.Join(dir, "x.mp4"), []byte("theirs"), 0o600))
		must(t, os.Mkdir(filepath.Join(dir, "x-2.mp4"), 0o700))
		for range 2 {
			at, err := Folder(dir).Put(t.Context(), recorded(t, content), "x")
			if err != nil || at.Path != "x-3.mp4" {
				t.Errorf("stored in %s as %q, %v, want x-3.mp4", dir, at.Path, err)
			}
		}
		if text, err := os.ReadFile(filepath.Join(dir, "x-3.mp4")); err != nil || string(text) != content {
			t.Errorf("content = %q, %v, want %q", text, err, content)
		}
		if there, err := os.ReadDir(dir); err != nil || len(there) != 3 {
			t.Errorf("%s has %v, %v, want three names", dir, there, err)
		}
	}
}

// TestPutOnFullDisk proves that nothing of a copy stays that could not be
// written. The disk is the kernel's own full one, as far as writing goes.
func TestPutOnFullDisk(t *testing.T) {
	create = func(*os.Root, string, int, fs.FileMode) (*os.File, error) {
		return os.OpenFile("/dev/full", os.O_RDWR, 0)
	}
	t.Cleanup(func() { create = (*os.Root).OpenFile })
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	if err := copyTo(t.Context(), root, recorded(t, content), "x.mp4"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("copy: %v, want %v", err, syscall.ENOSPC)
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) != 0 {
		t.Errorf("the target has %v, %v, want nothing", there, err)
	}
}

// TestPutFileThatGrows proves that a file is not taken that was written to since
// it was opened.
func TestPutFileThatGrows(t *testing.T) {
	file := recorded(t, content)
	must(t, file.Unchanged())
	must(t, os.WriteFile(file.File.Name(), []byte(content+"!"), 0o600))
	if err := file.Unchanged(); !errors.Is(err, ErrChanged) {
		t.Errorf("a file that has grown: %v, want %v", err, ErrChanged)
	}
}

// TestSomebodyElseIsFaster proves that of two recorders that store under the
// same name at the same time neither overwrites the other.
func TestSomebodyElseIsFaster(t *testing.T) {
	stacktest.Needed(t)
	server := s3test.Start(t)
	to, err := NewS3(config.S3{Endpoint: server.Endpoint, Region: "us-east-1", AccessKey: server.AccessKey, SecretKey: config.Secret(server.SecretKey)}, server.Bucket, "")
	must(t, err)
	file := recorded(t, content)
	_, err = server.Client(t).PutObject(t.Context(), server.Bucket, "x.mp4", strings.NewReader("theirs"), 6, minio.PutObjectOptions{})
	must(t, err)
	if err := to.upload(t.Context(), file, "x.mp4"); refusal(err).StatusCode != 412 && refusal(err).StatusCode != 409 {
		t.Errorf("stored over another file: %v", err)
	}
	for range 2 {
		if at, err := to.Put(t.Context(), file, "x"); err != nil || at.Path != "x-2.mp4" {
			t.Errorf("stored as %q, %v, want x-2.mp4", at.Path, err)
		}
	}
}
