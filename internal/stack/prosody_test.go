package stack

import (
	"net"
	"testing"

	"usher/internal/child"
)

// TestStartTriesOtherPortsWhenOneIsTaken has the first port for clients that is
// tried taken by another program.
func TestStartTriesOtherPortsWhenOneIsTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tries, p := 0, &Prosody{}
	process, err := child.Start(t.Context(), t.TempDir(), 3, func(dir string, ports []int) (child.Program, error) {
		if tries++; tries == 1 {
			ports[1] = taken.Addr().(*net.TCPAddr).Port
		}
		return p.program(dir, ProsodyConfig{}, ports)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer process.Kill()
	if tries != 2 {
		t.Errorf("tries = %d, want 2", tries)
	}
}
