package webhook

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"usher/store"
)

// Roles that the test binary takes as a child, by environment. A child ends
// when its standard input does, so none outlives the test.
const (
	receiverEnv  = "USHER_TEST_RECEIVER"  // answers 200 at once, so that its work is not counted as ours
	delivererEnv = "USHER_TEST_DELIVERER" // delivers until it is killed; the URL of Redis and of the receiver
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(receiverEnv) != "":
		untilOrphaned()
		receive()
	case os.Getenv(delivererEnv) != "":
		untilOrphaned()
		redis, receiver, _ := strings.Cut(os.Getenv(delivererEnv), " ")
		deliverForEver(redis, receiver)
	default:
		os.Exit(m.Run())
	}
}

func untilOrphaned() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}

func receive() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	_ = http.Serve(l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
}

// chaosTiming is quick to try again.
var chaosTiming = timing{
	schedule: waits(100, 100*time.Millisecond), refusals: waits(100, 100*time.Millisecond),
	probe: 200 * time.Millisecond, refresh: time.Second, flush: flushInterval, storeRetry: 50 * time.Millisecond,
}

const chaosTimeout = 3 * time.Second // also for a receiver on a busy machine

func waits(n int, d time.Duration) []time.Duration {
	list := make([]time.Duration, n)
	for i := 1; i < n; i++ {
		list[i] = d
	}
	return list
}

func deliverForEver(redis, receiver string) {
	st, err := store.NewRedis(store.Config{URL: redis, Site: "chaos"})
	if err != nil {
		panic(err)
	}
	registry, err := NewRegistry(Config{
		Store: st, AllowCIDRs: loopback,
		Endpoints: []Endpoint{{Name: "crm", URL: receiver, Secrets: []Secret{NewSecret()}}},
	})
	if err != nil {
		panic(err)
	}
	d := NewDeliverer(registry)
	d.timing, d.sender.timeout = chaosTiming, chaosTimeout
	fmt.Println("delivering")
	go func() { _ = d.Run(context.Background()) }()
	// All have the same name: whoever comes later leads.
	_ = st.Lead(context.Background(), "chaos", d.Lead, nothingToRewrite)
	select {} // until it is killed
}

func nothingToRewrite(context.Context) error { return nil }

// startChild runs the test binary in a role and returns it, and the first line
// it prints.
func startChild(t testing.TB, env ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(line)
}
