// Command server is an S3 server for tests: the one of rclone's `serve s3`,
// with its store in memory. It checks signatures (those of links too),
// checksums and conditions.
//
// It is a module of its own, so that usher's need not list what it is made of.
// It prints its address and serves until its input ends, which is when the test
// does.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

func main() {
	access := flag.String("access-key", "", "key that is let in")
	secret := flag.String("secret-key", "", "its secret")
	bucket := flag.String("bucket", "", "the only bucket")
	flag.Parse()
	store := s3mem.New()
	if err := store.CreateBucket(context.Background(), *bucket); err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ln.Addr())
	server := gofakes3.New(store, gofakes3.WithV4Auth(map[string]string{*access: *secret}))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(ln, server.Server()))
}
