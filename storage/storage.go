// Package storage holds the finished files of recordings, in a directory or in
// S3: recorders' hosts write them there, usher reads and deletes them, and a
// [Report] says where they are.
//
// What usher knows of a file comes from those hosts, so nothing outside the
// directory can be reached through it.
package storage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"usher/config"
	"usher/meeting"
)

// Storage is a place for files: a [Folder] or an [S3].
type Storage interface {
	// Put stores a file under the first free name that begins with stem, which may
	// lie in a folder, and returns where that is: storage, bucket and path. One that is there already
	// stays. When it returns, the copy is whole and survives the loss of power.
	Put(ctx context.Context, file *File, stem string) (meeting.RecordingFile, error)
	// Open returns a file's content, to be closed by the caller; reads may end
	// with ctx. A file that is not there any more is [fs.ErrNotExist].
	Open(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error)
	// Remove deletes a file. One that is not there is no error.
	Remove(ctx context.Context, f meeting.RecordingFile) error
}

// ErrElsewhere says that usher has no settings for reaching a file, or that it has no
// link of its own. It is an [errors.ErrUnsupported].
var ErrElsewhere = fmt.Errorf("storage: usher has no access to this storage: see recordings-dir and s3-endpoint: %w", errors.ErrUnsupported)

// Site finds the files of a site, by [meeting.RecordingFile].Storage. Its methods
// are safe for concurrent use.
type Site map[string]Storage

// NewSite returns the storage that usher's settings name. It does not look
// whether it is there.
func NewSite(c config.Recording) (Site, error) {
	s := Site{}
	if c.RecordingsDir != "" {
		s[meeting.StorageFile] = Folder(c.RecordingsDir)
	}
	if c.S3.Endpoint != "" {
		b, err := NewS3(c.S3, "", "")
		if err != nil {
			return nil, err
		}
		s[meeting.StorageS3] = b
	}
	return s, nil
}

// Open returns the file's content; see [Storage].
func (s Site) Open(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error) {
	if at, ok := s[f.Storage]; ok {
		return at.Open(ctx, f)
	}
	return nil, ErrElsewhere
}

// Remove deletes the file; see [Storage].
func (s Site) Remove(ctx context.Context, f meeting.RecordingFile) error {
	if at, ok := s[f.Storage]; ok {
		return at.Remove(ctx, f)
	}
	return ErrElsewhere
}

// Link returns a URL under which anybody can read a file of S3 until it expires,
// in seven days at most (S3's limit). It does not look whether the file is there.
func (s Site) Link(ctx context.Context, f meeting.RecordingFile, expires time.Duration) (string, error) {
	if at, ok := s[f.Storage].(*S3); ok {
		return at.link(ctx, f, expires)
	}
	return "", ErrElsewhere
}

// ErrChanged says that a file is still written to.
var ErrChanged = errors.New("the file still grows")

// File is an open file that is to be stored.
type File struct {
	*os.File
	Dir, Name string // of its directory, and its own there
	Size      int64  // bytes
	SHA256    string // hex
	info      fs.FileInfo
}

// OpenFile opens a plain file and reads all of it for its checksum.
func OpenFile(root *os.Root, name string) (*File, error) {
	file, info, err := OpenPlain(root, name)
	if err != nil {
		return nil, err
	}
	f := &File{File: file, Dir: filepath.Base(root.Name()), Name: name, Size: info.Size(), info: info}
	f.SHA256, err = checksum(file)
	if err == nil {
		err = f.Unchanged()
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return f, nil
}

// Unchanged returns [ErrChanged] unless the file has the size and age it was
// opened with.
func (f *File) Unchanged() error {
	now, err := f.Stat()
	if err == nil && (now.Size() != f.Size || !now.ModTime().Equal(f.info.ModTime())) {
		err = ErrChanged
	}
	return err
}

// OpenPlain opens a plain file below root, and nothing else.
func OpenPlain(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	name = filepath.FromSlash(name)
	seen, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%q is not a plain file", name)
	}
	// Without O_NONBLOCK a pipe that has just taken its place would block.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil || !os.SameFile(seen, info) {
		_ = file.Close()
		return nil, nil, fmt.Errorf("%q changed while it was opened", name)
	}
	return file, info, nil
}

// checksum reads a file from its beginning.
func checksum(file *os.File) (string, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	_, err := io.Copy(h, file)
	return hex.EncodeToString(h.Sum(nil)), err
}

// maxNames is how many names are tried for a file: one per recorder that died
// during the recording, and far more than that.
const maxNames = 100

// firstFree returns the first name for which put does not say [fs.ErrExist]: the
// second and later ones have a number.
func firstFree(stem, file string, put func(name string) error) (string, error) {
	number, ending := "", strings.ToLower(filepath.Ext(file))
	for n := 2; n <= maxNames+1; n++ {
		name := stem + number + ending
		if err := put(name); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
		number = "-" + strconv.Itoa(n)
	}
	return "", fmt.Errorf("%d files have the name that this one should get", maxNames)
}

// mediaTypes are those of recorders' files. The system's own table is not there
// in small containers.
var mediaTypes = map[string]string{
	".mp4":  "video/mp4",
	".webm": "video/webm",
	".mkv":  "video/matroska", // RFC 9559
	".ogg":  "audio/ogg",      // RFC 5334
	".json": "application/json",
}

// MediaType returns the type of a file by the ending of its name.
func MediaType(name string) string {
	return cmp.Or(mediaTypes[strings.ToLower(path.Ext(name))], "application/octet-stream")
}
