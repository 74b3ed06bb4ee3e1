package stack

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStartReportsATakenPort(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port

	t.Run("redis-server", func(t *testing.T) {
		prog, err := redisProgram(t.TempDir(), port, "secret")
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Process{program: prog}).start(t.Context()); !errors.Is(err, errPortTaken) {
			t.Errorf("start = %v, want %v", err, errPortTaken)
		}
	})
	t.Run("prosody", func(t *testing.T) {
		dir := t.TempDir()
		if err := writeSite(dir); err != nil {
			t.Fatal(err)
		}
		free, err := freePorts(2)
		if err != nil {
			t.Fatal(err)
		}
		prog := new(Prosody).program(dir, ProsodyConfig{}, []int{free[0], port, free[1]})
		if err := (&Process{program: prog}).start(t.Context()); !errors.Is(err, errPortTaken) {
			t.Errorf("start = %v, want %v", err, errPortTaken)
		}
	})
}

func TestStartTriesOtherPortsWhenOneIsTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir, tries := t.TempDir(), 0
	p, err := startOnFreePorts(t.Context(), 1, func(ports []int) (program, error) {
		if tries++; tries == 1 {
			ports[0] = taken.Addr().(*net.TCPAddr).Port
		}
		return redisProgram(dir, ports[0], "secret")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	if tries != 2 {
		t.Errorf("tries = %d, want 2", tries)
	}
}

func TestStartSaysHowToInstallWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, start := range map[string]func() error{
		"redis-server": func() error { _, err := StartRedis(t.Context(), t.TempDir()); return err },
		"prosody":      func() error { _, err := StartProsody(t.Context(), t.TempDir(), ProsodyConfig{}); return err },
	} {
		err, want := start(), "type: sudo apt-get install -y "+name
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("start without %s = %v, want an error with %q", name, err, want)
		}
	}
}

func TestStartShowsWhatAServerSaidBeforeItDied(t *testing.T) {
	dir := t.TempDir()
	// redis-server wants to keep its append-only file in a folder of this name.
	if err := os.WriteFile(filepath.Join(dir, "appendonlydir"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := StartRedis(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "Can't open or create append-only dir") {
		t.Errorf("start = %v, want redis-server's own words", err)
	}
}
