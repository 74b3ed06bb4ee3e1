package handover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"usher/storage"
)

// Check tries what a hand-over needs: usher at the other end with the same
// secret, a spool, and a place for the files that this user may write to. It
// returns usher's version and leaves nothing behind. Its error names each setting
// that is wrong. It blocks for 20 seconds at most.
func Check(ctx context.Context, s Settings) (version string, err error) {
	if err := s.Check(); err != nil {
		return "", err
	}
	version, err = Ask(ctx, s)
	problems := []error{err, setting("spool-dir", checkSpool(s.SpoolDir))}
	if s.RecordingsDir != "" {
		_, err := os.ReadDir(s.RecordingsDir)
		if err == nil && s.HandOver != Shared { // files are taken away from there
			err = checkWritable(s.RecordingsDir)
		}
		problems = append(problems, setting("recordings-dir", err))
	}
	switch s.HandOver {
	case Move:
		problems = append(problems, setting("target-dir", checkWritable(s.TargetDir)))
	case S3:
		bucket, err := storage.NewS3(s.S3.S3, s.S3.Bucket, s.S3.Prefix)
		if err == nil {
			err = bucket.Check(ctx)
		}
		problems = append(problems, err)
	}
	return version, errors.Join(problems...)
}

// Ask asks usher whether it takes what the recorder says, and returns its version.
func Ask(ctx context.Context, s Settings) (version string, err error) {
	answer, err := call(ctx, s, nil, storage.Report{Phase: storage.PhaseCheck})
	return answer.Usher, err
}

// setting puts the name of a setting in front of an error.
func setting(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// checkSpool tries the spool, or where it would be made.
func checkSpool(dir string) error {
	_, err := (&Spool{dir}).jobs()
	if _, errDir := os.Stat(dir); !errors.Is(errDir, fs.ErrNotExist) || dir == filepath.Dir(dir) {
		return errors.Join(checkWritable(dir), err)
	}
	return checkSpool(filepath.Dir(dir))
}

// checkWritable writes a file into a directory, locks it and removes it.
func checkWritable(dir string) error {
	file, err := os.CreateTemp(dir, ".usher-check-*")
	if err != nil {
		return fmt.Errorf("this user cannot write there: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString("usher finalize --check") // fails on a full disk
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	locked, err := lock(file.Name(), os.O_RDWR, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return fmt.Errorf("files cannot be locked there: %w", err)
	}
	return locked.Close()
}
