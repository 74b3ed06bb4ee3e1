package deploy_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/stack/stacktest"
)

// TestRules has Prometheus's own tool read and play the rules, and read the
// configuration that a site of docker-jitsi-meet has with them. That their metrics
// exist is tested in cmd/usher, where an usher runs.
func TestRules(t *testing.T) {
	stacktest.Needed(t)
	promtool := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "promtool", args...)
		cmd.Dir = dir
		output(t, cmd)
	}
	promtool("prometheus", "check", "rules", "usher.rules.yml")
	promtool("prometheus", "test", "rules", "usher.rules.test.yml")

	site := t.TempDir()
	rules := filepath.Join(site, "usher.rules.yml")
	write(t, rules, read(t, "prometheus/usher.rules.yml"), 0o600)
	job := strings.Replace(read(t, "docker-jitsi-meet/prometheus-job.yml"), "/etc/prometheus/usher.rules.yml", rules, 1)
	if !strings.Contains(job, rules) {
		t.Fatal("prometheus-job.yml names no rules")
	}
	// As docker-jitsi-meet has it.
	write(t, filepath.Join(site, "prometheus.yml"), "scrape_configs:\n"+
		"  - job_name: \"prometheus\"\n    scrape_interval: 5s\n    static_configs:\n      - targets: [\"prosody:5280\",\"jvb:8080\",\"jicofo:8888\"]\n"+job, 0o600)
	promtool(site, "check", "config", "prometheus.yml")
}

// TestDashboard: every panel asks the data source that comes with it, and is one of
// its own.
func TestDashboard(t *testing.T) {
	type source struct{ Type, UID string }
	var sources []struct {
		Datasources []struct{ UID, Type, URL string }
	}
	documents(t, "grafana/datasource_prometheus.yml", &sources)
	want := source{sources[0].Datasources[0].Type, sources[0].Datasources[0].UID}
	var board struct {
		UID, Title string
		Panels     []struct {
			ID         int
			Title      string
			Datasource source
			Targets    []struct {
				Expr       string
				Datasource source
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana/usher.json")), &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Datasource != want || len(p.Targets) == 0 {
			t.Errorf("panel %q has the id %d, the source %v and %d queries; want an id of its own, %v and some", p.Title, p.ID, p.Datasource, len(p.Targets), want)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			if q.Datasource != want || q.Expr == "" {
				t.Errorf("panel %q asks %v for %q, want %v", p.Title, q.Datasource, q.Expr, want)
			}
		}
	}
	if board.UID != "usher" || len(ids) < 20 {
		t.Errorf("dashboard %q with %d panels, want usher's", board.UID, len(ids))
	}
}
