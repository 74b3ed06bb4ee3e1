package deploy_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestComposeFile: usher may do little, Redis keeps what it is given and is reached
// by usher alone, and what setup.sh has not made stops Compose.
func TestComposeFile(t *testing.T) {
	s := newDockerSite(t, siteEnv)
	output(t, s.setup())
	usher := s.compose()["usher"]
	if !usher.ReadOnly || !slices.Equal(usher.CapDrop, []string{"ALL"}) {
		t.Errorf("usher: read_only %v, cap_drop %q; want it to write nothing and have no privilege", usher.ReadOnly, usher.CapDrop)
	}
	redis := s.compose()["usher-redis"]
	if _, public := redis.Networks["meet.jitsi"]; public || len(redis.Ports) > 0 {
		t.Errorf("Redis is in the networks %v with ports %q, want it alone with usher", redis.Networks, redis.Ports)
	}
	for _, want := range []string{"--appendonly yes", "--maxmemory-policy noeviction"} {
		if text := strings.Join(strings.Fields(jsonText(t, redis.Command)), " "); !strings.Contains(strings.NewReplacer(`"`, "", ",", " ").Replace(text), want) {
			t.Errorf("Redis is started by %s, want %s in it", text, want)
		}
	}

	// Those that setup.sh makes.
	file, secrets := read(t, "docker-jitsi-meet/usher.yml"), variables(read(t, "docker-jitsi-meet/env.example"))
	for name := range secrets {
		if !strings.Contains(file, "${"+name+":?run setup.sh}") || strings.Contains(file, "${"+name+"}") {
			t.Errorf("usher.yml does not ask for %s and setup.sh where it is missing", name)
		}
	}
	write(t, filepath.Join(s.dir, ".env"), siteEnv, 0o600)
	out, err := command(t, s.dir, s.bin, "docker-compose", "-f", "docker-compose.yml", "-f", "usher.yml", "config").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run setup.sh") {
		t.Errorf("without secrets Compose says %q, want an error that names setup.sh", out)
	}
}

// TestEveryVariableIsInTheExample: env.example lists what usher.yml reads of its
// own, and nothing else.
func TestEveryVariableIsInTheExample(t *testing.T) {
	names := func(file, pattern string) []string {
		var all []string
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
			all = append(all, found[1])
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	used := names("docker-jitsi-meet/usher.yml", `\$\{(USHER_\w+)`)
	listed := names("docker-jitsi-meet/env.example", `(?m)^#?(USHER_\w+)=`)
	if !slices.Equal(used, listed) {
		t.Errorf("usher.yml reads\n%q, env.example lists\n%q", used, listed)
	}
}

// TestEverySettingIsInTheComposeFile: Compose passes on only what the file names.
func TestEverySettingIsInTheComposeFile(t *testing.T) {
	left := []string{
		"USHER_DATA_DIR",                  // of a Redis of usher's own
		"USHER_COMPONENT_DOMAIN",          // usher. and the main domain, in the fragment too
		"USHER_BREAKOUT_DOMAIN",           // breakout. and the main domain, as in the image
		"USHER_LOBBY_DOMAIN",              // lobby. and the main domain, likewise
		"USHER_OCCUPANT_USER",             // the account that setup.sh makes
		"USHER_TLS_SERVER_NAME",           // of the certificate that setup.sh makes
		"USHER_TLS_PIN",                   // and so is its authority
		"USHER_TLS_INSECURE",              //
		"USHER_TRACKS_DIR",                // below the recordings
		"USHER_JWT_KEY_FILE",              // a file to mount: an override's
		"USHER_WHEREBY_ADDR",              // a port to publish: an override's
		"USHER_RESERVATION_MAX_OCCUPANTS", // docker-jitsi-meet cannot switch it on
		"USHER_STORE", "USHER_WEBHOOK",    // old names
		"USHER_WEBHOOK_SECRET",  //
		"USHER_WEBHOOK_DIALECT", //
		"USHER_WEBHOOK_HEADER",  //
	}
	file := read(t, "docker-jitsi-meet/usher.yml")
	for _, name := range settings(t) {
		if !slices.Contains(left, name) && !strings.Contains(file, "            "+name+": ") {
			t.Errorf("usher.yml does not pass %s on", name)
		}
	}
}
