package main

import (
	"flag"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"usher/internal/stack"
)

// asUsher makes a process of the test binary be usher, so that a test can kill
// it and no test runs another build than its own.
const asUsher = "TEST_AS_USHER"

func TestMain(m *testing.M) {
	if test := os.Getenv(asUsher); test != "" {
		go endWith(test)
		main()
		return
	}
	// The race detector would have each process wait a second before it ends.
	hookEnv = []string{beUsher(), "GORACE=atexit_sleep_ms=0"}
	// Most tests have a site of their own and wait for its timeouts.
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // not chosen
		_ = flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}

// beUsher is the variable that makes a child of this process be usher.
func beUsher() string { return asUsher + "=" + strconv.Itoa(os.Getpid()) }

// endWith ends this process once the test that needed it is gone, if it was
// interrupted, say: a detached worker would try for ever.
func endWith(test string) {
	for {
		if _, err := os.Stat("/proc/" + test); err != nil {
			os.Exit(1)
		}
		time.Sleep(time.Second)
	}
}

// process is usher as a child process.
type process struct {
	*exec.Cmd
	at addresses
}

// runUsher starts usher as a child with the site's flags and more, and waits
// until it listens. The scene's questions go to the one started last.
func (s *scene) runUsher(more ...string) *process {
	s.t.Helper()
	return s.runUsherAs(func(*exec.Cmd) {}, more...)
}

// runUsherAs is runUsher with something changed about the child.
func (s *scene) runUsherAs(change func(*exec.Cmd), more ...string) *process {
	s.t.Helper()
	admin, err := stack.FreeAddr()
	must(s.t, err)
	args := append(append([]string{"serve"}, s.args...), append([]string{"--admin-listen=" + admin}, more...)...)
	p := &process{Cmd: exec.Command(os.Args[0], args...), at: addresses{admin: admin, redis: s.redis.URL}}
	p.Env, p.Stderr = []string{beUsher(), "PATH=" + os.Getenv("PATH")}, s.log
	change(p.Cmd)
	must(s.t, p.Start())
	s.t.Cleanup(p.kill)
	cfg, err := localConfig(args[1:])
	must(s.t, err)
	p.at.api = cfg.Listen
	s.talkTo(p)
	s.until("usher listens", func() bool { return s.notReady()["usher"] == "" })
	return p
}

// talkTo directs the scene's questions to another usher.
func (s *scene) talkTo(p *process) { s.at = p.at }

// kill ends the process as kill -9 does, and returns when it is gone.
func (p *process) kill() {
	_ = p.Process.Kill() // may have ended already
	_ = p.Wait()
}
