// Package s3test gives a test an S3 server of its own, a child process that
// ends with the test.
package s3test

import (
	"bufio"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Server is an S3 server with one empty bucket.
type Server struct {
	Endpoint             string // http://host:port
	Bucket               string
	AccessKey, SecretKey string
}

// Start starts the server; it is built first, which takes seconds, on a machine
// that never did so.
func Start(t testing.TB) Server {
	t.Helper()
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := Server{Bucket: "recordings", AccessKey: "test-access-key", SecretKey: rand.Text()}
	cmd := exec.Command("go", "run", ".", "-access-key", s.AccessKey, "-secret-key", s.SecretKey, "-bucket", s.Bucket) // go keeps what it has built
	cmd.Dir = filepath.Join(strings.TrimSpace(string(module)), "internal", "s3test", "server")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the S3 server did not start: %v", err)
	}
	s.Endpoint = "http://" + strings.TrimSpace(line)
	return s
}

// Client returns a client of the server.
func (s Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
