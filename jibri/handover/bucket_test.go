package handover

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"usher/config"
	"usher/internal/s3test"
	"usher/internal/stack/stacktest"
	"usher/meeting"
	"usher/storage"
)

// handOverTime is how long a hand-over may take; it takes milliseconds.
const handOverTime = 10 * time.Second

// bigger is more than goes into one request (16 MiB), so that it goes in parts.
const bigger = 40 << 20

// onS3 has the site hand over to an S3 server.
func onS3(t *testing.T) (*site, s3test.Server) {
	stacktest.Needed(t)
	server := s3test.Start(t)
	s := newSite(t, Shared)
	s.growInterval = 10 * time.Millisecond // of real time
	s.cfg.HandOver = S3
	s.cfg.S3 = Bucket{Bucket: server.Bucket, S3: config.S3{
		Endpoint: server.Endpoint, Region: "us-east-1", AccessKey: server.AccessKey, SecretKey: config.Secret(server.SecretKey),
	}}
	must(t, s.cfg.Check())
	return s, server
}

// inBucket lists the names and sizes of what is there.
func inBucket(t *testing.T, server s3test.Server) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	for o := range server.Client(t).ListObjects(t.Context(), server.Bucket, minio.ListObjectsOptions{}) {
		must(t, o.Err)
		found[o.Key] = o.Size
	}
	return found
}

func TestFilesGoToS3(t *testing.T) {
	s, server := onS3(t)
	content := strings.Repeat("0123456789abcdef", bigger/16)
	one, two := s.record("one", "a.mp4", content, "metadata.json", "{}"), s.record("two", "b.mp4", pictures)
	s.hook(one)
	s.work()
	s.hook(two)
	s.work()
	s.told("one closed, one stored, two closed, two stored")
	has(t, s.recordings)
	found := inBucket(t, server)
	if len(found) != 2 || found[name+".mp4"] != bigger || found[name+"-2.mp4"] != int64(len(pictures)) {
		t.Errorf("in the bucket: %v", found)
	}
	stored := s.calls[1].Files
	if len(stored) != 1 || stored[0].Storage != meeting.StorageS3 || stored[0].Bucket != server.Bucket || stored[0].Path != name+".mp4" {
		t.Fatalf("files = %+v", stored)
	}

	// usher finds it there, and it is what was recorded.
	a, err := storage.NewSite(config.Recording{S3: s.cfg.S3.S3})
	must(t, err)
	got, err := a.Open(t.Context(), stored[0])
	must(t, err)
	defer got.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, got)
	must(t, err)
	if hex.EncodeToString(sum.Sum(nil)) != stored[0].SHA256 || n != bigger {
		t.Errorf("%d bytes of checksum %x are there, want %d of %s", n, sum.Sum(nil), bigger, stored[0].SHA256)
	}

	// The same again, as after a worker was killed: nothing new.
	s.record("two", "b.mp4", pictures)
	s.hook(two)
	s.work()
	if again := inBucket(t, server); len(again) != 2 {
		t.Errorf("in the bucket: %v", again)
	}
	has(t, s.recordings)
}

// TestFilesGoWhereTheAppWants proves that a destination of usher's counts more
// than the host's settings, also one with a folder behind the bucket.
func TestFilesGoWhereTheAppWants(t *testing.T) {
	s, server := onS3(t)
	s.cfg.HandOver = Shared
	to := meeting.Destination{
		Endpoint: server.Endpoint, Region: "us-east-1", Bucket: server.Bucket, AccessKey: server.AccessKey, SecretKey: server.SecretKey,
	}
	s.answer.Destination = &to
	s.hook(s.record("one", "a.mp4", pictures))
	s.work()
	s.told("one closed, one stored")
	to.Bucket += "/calls/"
	s.hook(s.record("two", "a.mp4", pictures))
	ctx, stop := context.WithTimeout(t.Context(), handOverTime)
	defer stop()
	must(t, s.worker().Run(ctx))
	s.told("one closed, one stored, two closed, two stored")
	for _, path := range []string{name + ".mp4", "calls/" + name + ".mp4"} {
		if held, err := server.Client(t).StatObject(t.Context(), server.Bucket, path, minio.StatObjectOptions{}); err != nil || held.Size != int64(len(pictures)) {
			t.Errorf("%s has %d bytes, %v, want %d", path, held.Size, err, len(pictures))
		}
	}
	if f := s.last().Files; len(f) != 1 || f[0].Bucket != server.Bucket || f[0].Path != "calls/"+name+".mp4" {
		t.Errorf("files = %+v", f)
	}
	has(t, s.recordings)
	err := filepath.WalkDir(s.cfg.SpoolDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), server.SecretKey) {
			t.Errorf("%s holds the app's key", path)
		}
		return err
	})
	must(t, err)
}

// TestS3Refuses proves that the file stays where it is.
func TestS3Refuses(t *testing.T) {
	s, server := onS3(t)
	dir := s.record("one", "a.mp4", pictures)
	for what, change := range map[string]func(*Bucket){
		"wrong key":    func(b *Bucket) { b.SecretKey = "another" },
		"no such user": func(b *Bucket) { b.AccessKey = "another" },
		"no bucket":    func(b *Bucket) { b.Bucket = "another" },
		"nobody there": func(b *Bucket) { b.Endpoint = "http://127.0.0.1:1" },
	} {
		cfg := s.cfg
		change(&cfg.S3)
		to, err := newStorage(cfg, nil)
		must(t, err)
		root, err := openFolder(dir, s.recordings)
		must(t, err)
		defer root.Close()
		c := &task{Worker: s.worker(), job: job{Dir: dir, StoringAt: time.Now()}}
		err = c.storeOne(t.Context(), cfg, root, to, "a.mp4", name)
		if err == nil || strings.Contains(err.Error(), "another-secret") {
			t.Errorf("%s: %v", what, err)
		}
		if c.givesUp(err, 2*growTimeout) {
			t.Errorf("%s: given up after %v, want %v", what, 2*growTimeout, storeTimeout)
		}
		has(t, dir, "a.mp4")
		if len(c.Files) != 0 {
			t.Errorf("%s: files = %+v", what, c.Files)
		}
	}
	if found := inBucket(t, server); len(found) != 0 {
		t.Errorf("in the bucket: %v", found)
	}
}
