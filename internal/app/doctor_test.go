package app

import (
	"net"
	"strings"
	"testing"

	"usher/config"
	"usher/internal/child"
)

// TestDoctorLeavesTheStreamsToAnUsherWithItsOwnRedis has one run that the doctor does
// not find by USHER_ADMIN_LISTEN.
func TestDoctorLeavesTheStreamsToAnUsherWithItsOwnRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	dir := t.TempDir()
	d := func() *doctor {
		d := &doctor{cfg: config.Config{AdminListen: nobody.Addr().String(), DataDir: dir}}
		d.find(t.Context())
		return d
	}
	if got := d().inUse; got.State != "" {
		t.Errorf("before any usher the logins are left alone: %+v", got)
	}
	redis, err := child.StartRedis(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Kill()
	if got := d().inUse; !strings.Contains(got.Seen, "USHER_DATA_DIR") || !strings.Contains(got.Do, "set USHER_ADMIN_LISTEN") {
		t.Errorf("beside an usher with its own Redis the doctor finds %+v, want that an usher runs with USHER_DATA_DIR", got)
	}
	redis.Kill()
	if got := d().inUse; got.State != "" {
		t.Errorf("after that usher's end the logins are left alone: %+v", got)
	}
}
