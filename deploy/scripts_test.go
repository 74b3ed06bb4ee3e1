package deploy_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/stack/stacktest"
)

// TestScripts has every script of a deployment read by the shells that sites have,
// and by shellcheck.
func TestScripts(t *testing.T) {
	stacktest.Needed(t)
	scripts, err := filepath.Glob("*/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts: %q, %v", scripts, err)
	}
	scripts = append(scripts, "functions.sh", "docker-jitsi-meet/finalize", "../prosody-config/finalize.sh")
	for _, script := range scripts {
		if !strings.HasPrefix(read(t, script), "#!/bin/sh\n") {
			t.Errorf("%s does not begin with #!/bin/sh", script)
		}
		for _, checker := range [][]string{{"sh", "-n"}, {"bash", "--posix", "-n"}, {"shellcheck", "--shell=sh", "--external-sources", "--source-path=SCRIPTDIR"}} {
			output(t, exec.CommandContext(t.Context(), checker[0], append(checker[1:], script)...))
		}
	}
}
