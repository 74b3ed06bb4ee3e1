package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"usher/meeting"
)

// Folder is a directory with files, which may lie in folders of it.
type Folder string

func (d Folder) open() (*os.Root, error) {
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, fmt.Errorf("open the directory for recordings: %w", err)
	}
	return root, nil
}

// Open implements [Storage].
func (d Folder) Open(_ context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, _, err := OpenPlain(root, f.Path)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Remove implements [Storage]. It deletes the file's folder as well if that is
// empty then.
func (d Folder) Remove(_ context.Context, f meeting.RecordingFile) error {
	root, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close()
	name := filepath.FromSlash(f.Path)
	info, err := root.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%q is not a plain file", f.Path)
	}
	if err == nil {
		err = root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if folder := filepath.Dir(name); err == nil && folder != "." {
		_ = root.Remove(folder) // fails while something is in it
	}
	return err
}

// Put implements [Storage].
func (d Folder) Put(ctx context.Context, file *File, stem string) (meeting.RecordingFile, error) {
	at := meeting.RecordingFile{Storage: meeting.StorageFile}
	root, err := d.open()
	if err != nil {
		return at, err
	}
	defer root.Close()
	if dir := path.Dir(stem); dir != "." {
		if err := root.MkdirAll(dir, 0o750); err != nil {
			return at, fmt.Errorf("write to the directory for recordings: %w", err)
		}
	}
	at.Path, err = firstFree(stem, file.Name, func(name string) error { return put(ctx, root, file, name) })
	return at, err
}

// put gives the directory a file of that name; [fs.ErrExist] if it has another
// one.
func put(ctx context.Context, root *os.Root, file *File, name string) error {
	same, err := holds(root, name, file)
	if err == nil && !same {
		return fs.ErrExist
	}
	dir, errDir := root.Open(".")
	if errDir != nil {
		return errDir
	}
	defer dir.Close()
	if errors.Is(err, fs.ErrNotExist) {
		err = link(file, dir, name)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = copyTo(ctx, root, file, name) // another file system, or one without links
		}
	}
	if err != nil {
		return err
	}
	if err := dir.Sync(); err != nil || path.Dir(name) == "." { // new names then survive the loss of power
		return err
	}
	folder, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// holds reports whether the directory's file of that name is a copy.
func holds(root *os.Root, name string, file *File) (bool, error) {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != file.Size {
		return false, err
	}
	other, err := root.Open(name)
	if err != nil {
		return false, err
	}
	defer other.Close()
	sum, err := checksum(other)
	return sum == file.SHA256, err
}

// link gives a file another name, which takes no time and no space. It goes by the
// open file: the name of it may be another file's by now.
func link(file *File, dir *os.File, name string) error {
	if err := file.Sync(); err != nil {
		return err
	}
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", file.Fd()), int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
}

// create makes the file that a copy is written into. Tests have it fail.
var create = (*os.Root).OpenFile

// copyTo writes a copy under another name first, so that nobody ever sees a part
// of it. What a process that died has left of one is overwritten.
func copyTo(ctx context.Context, root *os.Root, file *File, name string) error {
	part := fmt.Sprintf(".%s-%s.part", file.Dir, file.SHA256[:16])
	to, err := create(root, part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, file.info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("write to the directory for recordings: %w", err)
	}
	defer func() { _ = root.Remove(part) }()                  // not there any more, usually
	defer context.AfterFunc(ctx, func() { _ = to.Close() })() // ends the copying
	_, err = io.Copy(to, io.NewSectionReader(file, 0, file.Size))
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return fmt.Errorf("write to the directory for recordings: %w", err)
	}
	if same, err := holds(root, part, file); err != nil || !same {
		return errors.Join(fmt.Errorf("the copy of %q differs from it", file.Name), err)
	}
	err = root.Link(part, name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = root.Rename(part, name) // a file system without links
	}
	return err
}
