package child

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStartTriesOtherPortsWhenOneIsTaken has the first port that is tried taken
// by another program.
func TestStartTriesOtherPortsWhenOneIsTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tries, r := 0, &Redis{}
	p, err := Start(t.Context(), t.TempDir(), 1, func(dir string, ports []int) (Program, error) {
		if tries++; tries == 1 {
			ports[0] = taken.Addr().(*net.TCPAddr).Port
		}
		return r.program(dir, ports[0])
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
	_, err := StartRedis(t.Context(), t.TempDir())
	if want := "type: sudo apt-get install -y redis-server"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("start without redis-server = %v, want an error with %q", err, want)
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
