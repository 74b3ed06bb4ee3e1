package handover

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/minio/minio-go/v7"

	"usher/meeting"
)

// Check tries what a hand-over needs: usher at the other end with the same
// secret, a spool, and a place for the files that this user may write to. It
// returns usher's version and leaves nothing behind. Its error names each setting
// that is wrong. It blocks for 20 seconds at most.
func Check(ctx context.Context, s Settings) (version string, err error) {
	if err := s.Check(); err != nil {
		return "", err
	}
	version, err = checkUsher(ctx, newCaller(s, nil))
	problems := []error{err, checkSpool(s.SpoolDir)}
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
		problems = append(problems, checkBucket(ctx, s.S3))
	}
	return version, errors.Join(problems...)
}

// setting puts the name of a setting in front of an error.
func setting(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// checkUsher makes a signed call that changes nothing.
func checkUsher(ctx context.Context, c caller) (version string, err error) {
	a, err := c.post(ctx, meeting.HandOver{Phase: meeting.HandOverCheck})
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		err = fmt.Errorf("%w; the name in url must be that in the server's certificate, and its issuer be among the system's or in the file that SSL_CERT_FILE names", err)
	}
	if err != nil {
		return "", setting("url", err)
	}
	var result meeting.HandOverCheckAnswer
	switch code := a.problemCode(); {
	case a.status == http.StatusOK && json.Unmarshal(a.text, &result) == nil && result.Usher != "":
		return result.Usher, nil
	case a.status >= 300 && a.status < 400:
		return "", fmt.Errorf("url: %s leads to %q; name usher's own address", c.URL, a.header.Get("Location"))
	case code == "recorder_signature":
		return "", fmt.Errorf("recorder or recorder-secret: usher at %s has another secret for recorder %s, or none (USHER_RECORDER_KEY there)", c.URL, c.Recorder)
	case code == "recorder_clock":
		return "", fmt.Errorf("the clocks of this host and of usher's differ by more than five minutes; usher's says %s", a.header.Get("Date"))
	case a.status == http.StatusUnprocessableEntity && code == "invalid":
		return "", fmt.Errorf("url: usher at %s is too old to be asked; it needs the version of this program", c.URL)
	case code != "":
		return "", fmt.Errorf("url: usher at %s cannot say now: %v", c.URL, a)
	}
	return "", fmt.Errorf("url: what answers at %s is not usher, or a proxy that does not pass POST %s on: %v", c.URL, callbackPath, a)
}

// checkSpool tries the spool, or where it would be made.
func checkSpool(dir string) error {
	there := dir
	for {
		if _, err := os.Stat(there); !errors.Is(err, fs.ErrNotExist) || there == filepath.Dir(there) {
			break
		}
		there = filepath.Dir(there)
	}
	err := checkWritable(there)
	if _, errJobs := (&Spool{dir}).jobs(); !errors.Is(errJobs, fs.ErrNotExist) {
		err = errors.Join(err, errJobs)
	}
	return setting("spool-dir", err)
}

// checkWritable writes a file into a directory, locks it and removes it.
func checkWritable(dir string) error {
	file, err := os.CreateTemp(dir, ".usher-check-*")
	if err != nil {
		return fmt.Errorf("this user cannot write there: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString("usher finalize --check") // fails on a full disk
	if err = errors.Join(err, file.Sync()); err != nil {
		_ = file.Close()
		return err
	}
	if file, err = flock(file, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("files cannot be locked there: %w", err)
	}
	return file.Close()
}

// bucketSettings says which setting S3's code of an error is about.
var bucketSettings = map[string]string{
	"NoSuchBucket": "s3-bucket", "InvalidBucketName": "s3-bucket",
	"InvalidAccessKeyId": "s3-access-key", "SignatureDoesNotMatch": "s3-secret-key",
	"AccessDenied":                 "s3-access-key may not write to s3-bucket",
	"AuthorizationHeaderMalformed": "s3-region", "InvalidRegion": "s3-region", "PermanentRedirect": "s3-region",
}

// checkBucket begins an upload and gives it up, because the key need not have
// the right to delete.
func checkBucket(ctx context.Context, settings Bucket) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b, err := newBucket(settings)
	if err != nil {
		return err
	}
	core, name := minio.Core{Client: b.client}, b.prefix+".usher-check"
	id, err := core.NewMultipartUpload(ctx, b.name, name, minio.PutObjectOptions{})
	if err == nil {
		err = core.AbortMultipartUpload(ctx, b.name, name, id)
	}
	if err == nil {
		return nil
	}
	which, known := bucketSettings[minio.ToErrorResponse(err).Code]
	if !known {
		which = "s3-endpoint or s3-bucket"
	}
	return setting(which, err)
}
