package storage

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"usher/config"
	"usher/meeting"
)

const (
	// amazon is the endpoint where none is named.
	amazon = "s3.amazonaws.com"
	// s3Tries is how often a request is sent before its error counts: enough for
	// a hiccup; who asks tries again later, or tells an app.
	s3Tries = 3
	// uploadTimeout bounds one upload: 2 GB take five hours at 1 Mbit/s. What
	// takes longer is stuck, and is begun anew.
	uploadTimeout = 6 * time.Hour
	// checkTimeout bounds the check of the settings.
	checkTimeout = 10 * time.Second
	// minPart is the least size of a part that S3 takes, in bytes.
	minPart = 5 << 20
	// shaKey is the name under which an object carries its checksum, as
	// x-amz-meta-sha256.
	shaKey = "Sha256"
)

// S3 is a server of S3 and the bucket of it that files are put into.
type S3 struct {
	client         *minio.Client
	bucket, prefix string
}

// NewS3 returns the server that the settings name; it connects to nobody yet.
// bucket and prefix, which is put in front of names, are for storing only: files
// say themselves where they are.
func NewS3(c config.S3, bucket, prefix string) (*S3, error) {
	endpoint, plain := strings.CutPrefix(c.Endpoint, "http://")
	endpoint = strings.TrimSuffix(strings.TrimPrefix(endpoint, "https://"), "/")
	if endpoint == "" {
		endpoint = amazon
	}
	client, err := minio.New(endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKey, string(c.SecretKey), ""),
		Secure:     !plain,
		Region:     c.Region,
		MaxRetries: s3Tries,
	})
	if err != nil {
		return nil, fmt.Errorf("s3-endpoint: %w", err)
	}
	return &S3{client, bucket, prefix}, nil
}

// Open implements [Storage].
func (b *S3) Open(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error) {
	object, err := b.client.GetObject(ctx, f.Bucket, f.Path, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := object.Stat(); err != nil { // the first request
		_ = object.Close()
		if missing(err) {
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, err
	}
	return object, nil
}

// Remove implements [Storage].
func (b *S3) Remove(ctx context.Context, f meeting.RecordingFile) error {
	err := b.client.RemoveObject(ctx, f.Bucket, f.Path, minio.RemoveObjectOptions{})
	if missing(err) {
		return nil
	}
	return err
}

func (b *S3) link(ctx context.Context, f meeting.RecordingFile, expires time.Duration) (string, error) {
	// A browser is to save it under its name instead of playing it.
	as := url.Values{"response-content-disposition": {`attachment; filename*=UTF-8''` + url.PathEscape(path.Base(f.Path))}}
	link, err := b.client.PresignedGetObject(ctx, f.Bucket, f.Path, expires, as)
	if err != nil {
		return "", err
	}
	return link.String(), nil
}

// Put implements [Storage].
func (b *S3) Put(ctx context.Context, file *File, stem string) (meeting.RecordingFile, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, uploadTimeout, fmt.Errorf("not stored within %v", uploadTimeout))
	defer cancel()
	name, err := firstFree(b.prefix+stem, file.Name, func(name string) error { return b.put(ctx, file, name) })
	return meeting.RecordingFile{Storage: meeting.StorageS3, Bucket: b.bucket, Path: name}, err
}

// put asks what is there before and after the upload: a file counts as stored
// when the bucket has it with its size and checksum. [fs.ErrExist] says that it
// has another of that name.
func (b *S3) put(ctx context.Context, file *File, name string) error {
	there, err := b.holds(ctx, file, name)
	if there || err != nil && !missing(err) && refusal(err).StatusCode != http.StatusForbidden {
		return err
	}
	// Without the right to list, S3 answers 403 for what is not there.
	err = b.upload(ctx, file, name)
	if status := refusal(err).StatusCode; err != nil && status != http.StatusPreconditionFailed && status != http.StatusConflict {
		return fmt.Errorf("store in S3: %w", err)
	}
	_, err = b.holds(ctx, file, name) // somebody else may have been faster
	return err
}

// holds reports whether the bucket has an object of that name, and returns
// [fs.ErrExist] when that is another file.
func (b *S3) holds(ctx context.Context, file *File, name string) (bool, error) {
	held, err := b.client.StatObject(ctx, b.bucket, name, minio.StatObjectOptions{})
	switch {
	case err != nil:
		return false, fmt.Errorf("look into the S3 bucket: %w", err)
	case held.Size != file.Size || held.UserMetadata[shaKey] != file.SHA256:
		return true, fs.ErrExist
	}
	return true, nil
}

// upload stores the file unless the bucket has one of that name. Big files go
// in parts, each with its own checksum. Servers that know no conditions are
// asked without.
func (b *S3) upload(ctx context.Context, file *File, name string) error {
	options := minio.PutObjectOptions{
		ContentType:    MediaType(name),
		UserMetadata:   map[string]string{shaKey: file.SHA256},
		SendContentMd5: true, // which every server checks; newer checksums some refuse
	}
	put := func(options minio.PutObjectOptions) error {
		_, err := b.client.PutObject(ctx, b.bucket, name, io.NewSectionReader(file, 0, file.Size), file.Size, options)
		return err
	}
	conditional := options
	conditional.SetMatchETagExcept("*")
	err := put(conditional)
	if refusal(err).StatusCode == http.StatusNotImplemented {
		err = put(options)
	}
	if err != nil {
		return err
	}
	return file.Unchanged()
}

// checked says which setting S3's code of an error is about.
var checked = map[string]string{
	"NoSuchBucket": "s3-bucket", "InvalidBucketName": "s3-bucket",
	"InvalidAccessKeyId": "s3-access-key", "SignatureDoesNotMatch": "s3-secret-key",
	"AccessDenied":                 "s3-access-key may not write into s3-bucket, or not read what it wrote",
	"AuthorizationHeaderMalformed": "s3-region", "InvalidRegion": "s3-region", "PermanentRedirect": "s3-region",
}

// Check writes an object in parts, as big files go, reads it back and removes it.
// Its error names the setting that is wrong. The key need not have the right to
// delete: then the object stays, for this host's next check to overwrite.
func (b *S3) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	host, _ := os.Hostname()
	at := meeting.RecordingFile{Bucket: b.bucket, Path: b.prefix + ".usher-check-" + host}
	text := rand.Text()
	const unknown = -1 // the size then; it goes in parts
	_, err := b.client.PutObject(ctx, at.Bucket, at.Path, strings.NewReader(text), unknown, minio.PutObjectOptions{PartSize: minPart, SendContentMd5: true})
	if err == nil {
		err = b.compare(ctx, at, text)
		if gone := b.Remove(ctx, at); err == nil && refusal(gone).StatusCode != http.StatusForbidden {
			err = gone
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", cmp.Or(checked[refusal(err).Code], "s3-endpoint or s3-bucket"), err)
}

// compare reads an object and compares it.
func (b *S3) compare(ctx context.Context, at meeting.RecordingFile, want string) error {
	object, err := b.Open(ctx, at)
	if err != nil {
		return err
	}
	defer object.Close()
	got, err := io.ReadAll(io.LimitReader(object, int64(len(want))+1))
	if err == nil && string(got) != want {
		err = fmt.Errorf("%s was written and reads %q, not %q", at.Path, got, want)
	}
	return err
}

// missing reports whether S3 says that there is no such object.
func missing(err error) bool {
	answer := refusal(err)
	return answer.StatusCode == http.StatusNotFound && answer.Code != minio.NoSuchBucket
}

// refusal returns what S3's error answer says, nothing if the error is none.
func refusal(err error) (answer minio.ErrorResponse) {
	_ = errors.As(err, &answer)
	return answer
}
