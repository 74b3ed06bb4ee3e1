package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
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
)

// S3Client returns a client for the server that the settings name; it connects
// to nobody yet.
func S3Client(c config.S3) (*minio.Client, error) {
	endpoint, secure := c.Endpoint, true
	if rest, ok := strings.CutPrefix(endpoint, "http://"); ok {
		endpoint, secure = rest, false
	}
	endpoint = strings.TrimSuffix(strings.TrimPrefix(endpoint, "https://"), "/")
	if endpoint == "" {
		endpoint = amazon
	}
	client, err := minio.New(endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKey, string(c.SecretKey), ""),
		Secure:     secure,
		Region:     c.Region,
		MaxRetries: s3Tries,
	})
	if err != nil {
		return nil, fmt.Errorf("s3-endpoint: %w", err)
	}
	return client, nil
}

// bucket reaches files in whatever bucket they are.
type bucket struct{ client *minio.Client }

func (b *bucket) open(ctx context.Context, f meeting.RecordingFile) (io.ReadSeekCloser, error) {
	object, err := b.client.GetObject(ctx, f.Bucket, f.Path, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := object.Stat(); err != nil { // the first request
		_ = object.Close()
		if Missing(err) {
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, err
	}
	return object, nil
}

func (b *bucket) link(ctx context.Context, f meeting.RecordingFile, expires time.Duration) (string, error) {
	// A browser is to save it under its name instead of playing it.
	as := url.Values{"response-content-disposition": {`attachment; filename*=UTF-8''` + url.PathEscape(path.Base(f.Path))}}
	link, err := b.client.PresignedGetObject(ctx, f.Bucket, f.Path, expires, as)
	if err != nil {
		return "", err
	}
	return link.String(), nil
}

func (b *bucket) remove(ctx context.Context, f meeting.RecordingFile) error {
	err := b.client.RemoveObject(ctx, f.Bucket, f.Path, minio.RemoveObjectOptions{})
	if err != nil && !Missing(err) {
		return err
	}
	return nil
}

// Missing reports whether S3 says that there is no such object.
func Missing(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound && answer.Code != minio.NoSuchBucket
}
