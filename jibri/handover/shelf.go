package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"usher/meeting"
)

// shelf is where files go.
type shelf interface {
	// place puts a file there under the first name that is free, and returns
	// where it is: storage, bucket and path. A file that is there already stays.
	// When place returns, the copy is whole and survives the loss of power.
	place(ctx context.Context, file *mediaFile, stem string) (meeting.RecordingFile, error)
	// keeps reports whether the file is to stay where it was as well.
	keeps() bool
}

// errNames says that all names are taken by other files.
var errNames = fmt.Errorf("%d files have the name that this one should get", maxNames)

// shared leaves files where they are.
type shared struct{}

func (shared) keeps() bool { return true }

func (shared) place(_ context.Context, file *mediaFile, _ string) (meeting.RecordingFile, error) {
	return meeting.RecordingFile{Storage: meeting.StorageFile, Path: file.folder.name + "/" + file.name}, file.Sync()
}

// moved puts files into another directory.
type moved struct {
	dir string
	// create makes the file that a copy is written into; nil:
	// [os.Root.OpenFile]. Tests have it fail.
	create func(root *os.Root, name string, mode fs.FileMode) (*os.File, error)
}

func (moved) keeps() bool { return false }

func (m moved) place(ctx context.Context, file *mediaFile, stem string) (meeting.RecordingFile, error) {
	at := meeting.RecordingFile{Storage: meeting.StorageFile}
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return at, fmt.Errorf("open target-dir: %w", err)
	}
	defer root.Close()
	for n := 1; n <= maxNames; n++ {
		at.Path = numbered(stem, file.name, n)
		err := m.put(ctx, root, file, at.Path)
		if !errors.Is(err, fs.ErrExist) {
			return at, err
		}
		if same, err := holds(root, at.Path, file); err != nil || same {
			return at, err
		}
	}
	return at, errNames
}

// put gives the target a file of that name; [fs.ErrExist] if it has one.
func (m moved) put(ctx context.Context, root *os.Root, file *mediaFile, name string) error {
	if _, err := root.Lstat(name); err == nil {
		return fs.ErrExist // without copying it first
	}
	err := link(file, root, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = m.copy(ctx, file, root, name) // another file system, or one without links
	}
	if err != nil {
		return err
	}
	return syncRoot(root)
}

// link gives a file another name in the target, which takes no time and no
// space.
func link(file *mediaFile, root *os.Root, name string) error {
	from, err := file.folder.root.Open(".")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := root.Open(".")
	if err != nil {
		return err
	}
	defer to.Close()
	if err := file.Sync(); err != nil {
		return err
	}
	if err := unix.Linkat(int(from.Fd()), file.name, int(to.Fd()), name, 0); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if got, err := root.Lstat(name); err != nil || !os.SameFile(got, file.info) {
		_ = root.Remove(name)
		return fmt.Errorf("%q changed while it was handed over", file.name)
	}
	return nil
}

// copy writes a copy under another name first, so that nobody ever sees a part
// of it. What a worker that died has left of one is overwritten.
func (m moved) copy(ctx context.Context, file *mediaFile, root *os.Root, name string) error {
	create := m.create
	if create == nil {
		create = func(root *os.Root, name string, mode fs.FileMode) (*os.File, error) {
			return root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, mode)
		}
	}
	part := fmt.Sprintf(".%s-%s.part", file.folder.name, file.sha256[:16])
	to, err := create(root, part, file.info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("write to target-dir: %w", err)
	}
	defer func() { _ = root.Remove(part) }() // not there any more, usually
	_, err = io.Copy(to, &untilDone{ctx, io.NewSectionReader(file, 0, file.info.Size())})
	if err == nil {
		err = to.Sync()
	}
	var sum string
	if err == nil {
		sum, err = checksum(to)
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("write to target-dir: %w", err)
	}
	if sum != file.sha256 {
		return fmt.Errorf("the copy of %q differs from it", file.name)
	}
	err = root.Link(part, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = root.Rename(part, name) // a file system without links
	}
	return err
}

// holds reports whether the target's file of that name is a copy.
func holds(root *os.Root, name string, file *mediaFile) (bool, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != file.info.Size() {
		return false, nil
	}
	other, err := root.Open(name)
	if err != nil {
		return false, err
	}
	defer other.Close()
	sum, err := checksum(other)
	return sum == file.sha256, err
}

// syncRoot makes new names in a directory survive the loss of power.
func syncRoot(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// untilDone reads until ctx ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

// newShelf returns where files go: to the destination that usher names, else
// where the settings say.
func newShelf(s Settings, to *meeting.Destination) (shelf, error) {
	switch {
	case to != nil:
		return newBucket(destination(to))
	case s.HandOver == S3:
		return newBucket(s.S3)
	case s.HandOver == Move:
		return moved{dir: s.TargetDir}, nil
	}
	return shared{}, nil
}

// mediaType is the type of a file by its name.
func mediaType(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".webm":
		return "video/webm"
	case ".mkv":
		return "video/x-matroska"
	}
	return "video/mp4"
}
