// Package archive reads and deletes the finished files of recordings, where the
// recorders' hosts have put them: in a directory that usher sees too, or in S3.
//
// What it is told of a file comes from those hosts, so nothing outside the
// directory can be reached through it.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"usher/config"
	"usher/meeting"
)

// Errors of [Archive].
var (
	// ErrNoLink says that the file has no link of its own, because it is not in
	// S3.
	ErrNoLink = errors.New("archive: files in a directory have no link")
	// ErrElsewhere says that usher was not told how to reach the file. It is an
	// [errors.ErrUnsupported].
	ErrElsewhere = fmt.Errorf("archive: usher has no access to this storage: see recordings-dir and s3-endpoint: %w", errors.ErrUnsupported)
)

// Archive finds files. Its methods are safe for concurrent use.
type Archive struct {
	dir string  // empty: none
	s3  *bucket // nil: none
}

// New returns the archive of a site. It does not look whether there is one.
func New(c config.Recording) (*Archive, error) {
	a := &Archive{dir: c.RecordingsDir}
	if c.S3.Endpoint == "" {
		return a, nil
	}
	client, err := S3Client(c.S3)
	if err != nil {
		return nil, err
	}
	a.s3 = &bucket{client}
	return a, nil
}

// Open returns the file's content, to be closed by the caller. Reads end with
// ctx. A file that is not there any more is [fs.ErrNotExist].
func (a *Archive) Open(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error) {
	switch {
	case f.Storage == meeting.StorageS3 && a.s3 != nil:
		return a.s3.open(ctx, f)
	case f.Storage == meeting.StorageFile && a.dir != "":
		return a.openFile(f.Path)
	}
	return nil, ErrElsewhere
}

// Link returns a URL under which anybody can read the file until it expires, in
// seven days at most (S3's limit). It does not look whether the file is there.
func (a *Archive) Link(ctx context.Context, f meeting.RecordingFile, expires time.Duration) (string, error) {
	switch {
	case f.Storage == meeting.StorageS3 && a.s3 != nil:
		return a.s3.link(ctx, f, expires)
	case f.Storage == meeting.StorageFile:
		return "", ErrNoLink
	}
	return "", ErrElsewhere
}

// Remove deletes the file. One that is not there is no error.
func (a *Archive) Remove(ctx context.Context, f meeting.RecordingFile) error {
	switch {
	case f.Storage == meeting.StorageS3 && a.s3 != nil:
		return a.s3.remove(ctx, f)
	case f.Storage == meeting.StorageFile && a.dir != "":
		return a.removeFile(f.Path)
	}
	return ErrElsewhere
}

func (a *Archive) openFile(name string) (io.ReadSeekCloser, error) {
	root, err := os.OpenRoot(a.dir)
	if err != nil {
		return nil, fmt.Errorf("open the recordings' directory: %w", err)
	}
	defer root.Close()
	if err := isFile(root, name); err != nil {
		return nil, err
	}
	// Without O_NONBLOCK a pipe that has taken the file's place would block.
	file, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// removeFile deletes the file, and its folder if that is empty then.
func (a *Archive) removeFile(name string) error {
	root, err := os.OpenRoot(a.dir)
	if err != nil {
		return fmt.Errorf("open the recordings' directory: %w", err)
	}
	defer root.Close()
	if err := isFile(root, name); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := root.Remove(filepath.FromSlash(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if folder := path.Dir(name); folder != "." {
		_ = root.Remove(filepath.FromSlash(folder)) // fails while something is in it
	}
	return nil
}

// isFile reports what is wrong when name is not a plain file below root.
func isFile(root *os.Root, name string) error {
	info, err := root.Lstat(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is not a plain file", name)
	}
	return nil
}
