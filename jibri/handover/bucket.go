package handover

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"usher/config"
	"usher/jibri/archive"
	"usher/meeting"
)

const (
	// uploadPatience bounds one upload: 2 GB take five hours at 1 Mbit/s. What
	// takes longer is stuck, and is begun anew.
	uploadPatience = 6 * time.Hour
	// shaKey is the name under which an object carries its checksum, as
	// x-amz-meta-sha256.
	shaKey = "Sha256"
)

// bucket puts files into S3.
type bucket struct {
	client       *minio.Client
	name, prefix string
}

func newBucket(b Bucket) (*bucket, error) {
	client, err := archive.S3Client(b.S3)
	if err != nil {
		return nil, err
	}
	return &bucket{client, b.Bucket, b.Prefix}, nil
}

// destination turns the bucket that an app brought along into settings.
func destination(d *meeting.Destination) Bucket {
	return Bucket{Bucket: d.Bucket, S3: config.S3{
		Endpoint: d.Endpoint, Region: d.Region, AccessKey: d.AccessKey, SecretKey: config.Secret(d.SecretKey),
	}}
}

func (*bucket) keeps() bool { return false }

// place asks what is there before and after each upload: a file counts as
// stored when the bucket has it with its size and checksum.
func (b *bucket) place(ctx context.Context, file *mediaFile, stem string) (meeting.RecordingFile, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, uploadPatience, fmt.Errorf("not stored within %v", uploadPatience))
	defer cancel()
	at := meeting.RecordingFile{Storage: meeting.StorageS3, Bucket: b.name}
	uploaded := "" // the name that was tried last
	for n := 1; n <= maxNames; {
		at.Path = b.prefix + numbered(stem, file.name, n)
		held, err := b.client.StatObject(ctx, b.name, at.Path, minio.StatObjectOptions{})
		switch {
		case err == nil && held.Size == file.info.Size() && held.UserMetadata[shaKey] == file.sha256:
			return at, nil
		case err == nil:
			n++ // somebody else's
			continue
		case uploaded == at.Path:
			return at, fmt.Errorf("look at what was stored in S3: %w", err)
		case !archive.Missing(err) && !refuses(err):
			return at, fmt.Errorf("look into the S3 bucket: %w", err)
		}
		// Without the right to list, S3 answers 403 for what is not there.
		if err := b.upload(ctx, file, at.Path); err != nil && !conditionFailed(err) {
			return at, fmt.Errorf("store in S3: %w", err)
		}
		uploaded = at.Path
	}
	return at, errNames
}

// upload stores the file unless the bucket has one of that name. Big files go
// in parts, each with its own checksum. Servers that know no conditions are
// asked without.
func (b *bucket) upload(ctx context.Context, file *mediaFile, name string) error {
	put := func(condition bool) error {
		options := minio.PutObjectOptions{
			ContentType:    mediaType(name),
			UserMetadata:   map[string]string{shaKey: file.sha256},
			SendContentMd5: true, // which every server checks; newer checksums some refuse
		}
		if condition {
			options.SetMatchETagExcept("*")
		}
		if _, err := file.Seek(0, 0); err != nil {
			return err
		}
		_, err := b.client.PutObject(ctx, b.name, name, file.File, file.info.Size(), options)
		return err
	}
	err := put(true)
	var answer minio.ErrorResponse
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotImplemented {
		err = put(false)
	}
	if err != nil {
		return err
	}
	return file.unchanged()
}

func refuses(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden
}

// conditionFailed says that the bucket has a file of the name by now.
func conditionFailed(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusPreconditionFailed || answer.StatusCode == http.StatusConflict)
}
