package app

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"usher/api"
	"usher/config"
	"usher/store"
	"usher/webhook"
)

var rewrite = flag.Bool("rewrite", false, "write the metrics into docs/metrics.md; read the difference before you keep it")

// family is a metric with the labels that its series have.
type family struct {
	kind, help string
	labels     map[string][]string // values, by label
}

// everyMetric returns what an usher that leads exposes, before anything has happened.
func everyMetric(t *testing.T) map[string]family {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := config.Config{
		Listen: "127.0.0.1:0", ComponentSecret: "s", ComponentDomain: "usher.meet.jitsi", ComponentAddr: "127.0.0.1:1", ClientAddr: "127.0.0.1:1",
		MUC: "muc.meet.jitsi", HiddenDomain: "hidden.meet.jitsi", FocusJID: "focus@auth.meet.jitsi", TLSServerName: "meet.jitsi",
		OccupantUser: "usher", OccupantPassword: "p", APIKeys: []config.Secret{"a-key-of-some-length"}, ReservationToken: "a-token-of-some-length", Site: "main",
	}
	cfg.BreweryPassword, cfg.Brewery, cfg.RedisURL = "p", "jibribrewery@internal-muc.meet.jitsi", "redis://127.0.0.1:1"
	cfg.SiteURL, cfg.XMPPDomain, cfg.JWTAppID, cfg.JWTAudience, cfg.JWTSecret = "https://meet.example.com", "meet.jitsi", "app", "jitsi", "0123456789abcdef0123456789abcdef"
	reg := newProcessMetrics()
	st, err := store.NewRedis(store.Config{URL: cfg.RedisURL, Site: "main", Registerer: reg})
	must(t, err)
	defer st.Close()
	registry, err := newRegistry(cfg, st, log, reg)
	must(t, err)
	l := newLeader(cfg, st, registry, webhook.NewDeliverer(registry), log)
	term, err := l.newTerm()
	must(t, err)
	l.term.Store(term)
	_, err = newAPI(cfg, st, l, api.NewFeed(st, log), nil, newRefusals(log, reg).note, log, reg)
	must(t, err)
	m := &monitor{health: func() api.Health { return l.health(st, webhooksCheck(registry, l.deliverer)) }}
	var looked api.Readiness
	for _, c := range m.health().Checks {
		looked.Checks = append(looked.Checks, api.Result{Name: c.Name})
	}
	m.last.Store(&looked)
	reg.MustRegister(m)

	all := map[string]family{}
	gathered, err := prometheus.Gatherers{reg, term.metrics}.Gather()
	must(t, err)
	for _, g := range gathered {
		f := family{strings.ToLower(g.GetType().String()), g.GetHelp(), map[string][]string{}}
		for _, series := range g.Metric {
			for _, label := range series.Label {
				if values := f.labels[label.GetName()]; !slices.Contains(values, label.GetValue()) {
					f.labels[label.GetName()] = append(values, label.GetValue())
				}
			}
		}
		all[g.GetName()] = f
	}
	// Those of rooms have no series without meetings.
	descs := make(chan *prometheus.Desc, 100)
	roomMetrics{l}.Describe(descs)
	close(descs)
	form := regexp.MustCompile(`fqName: "([^"]+)", help: "([^"]+)".*variableLabels: \{(\w*)\}`)
	for d := range descs {
		found := form.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("%s is not read", d)
		}
		f := family{"gauge", found[2] + " Only on `/metrics/rooms`.", map[string][]string{}}
		if found[3] != "" {
			f.labels[found[3]] = nil
		}
		all[found[1]] = f
	}
	return all
}

// maxValues is how many values of a label the document lists.
const maxValues = 12

// TestMetricsDocument: docs/metrics.md lists every metric, with its labels. What
// stands before the table is written by hand.
func TestMetricsDocument(t *testing.T) {
	const file = "../../docs/metrics.md"
	all := everyMetric(t)
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(name, "usher_") {
			continue
		}
		f := all[name]
		var labels []string
		for _, label := range slices.Sorted(maps.Keys(f.labels)) {
			text := "`" + label + "`"
			if values := f.labels[label]; len(values) > 1 && len(values) <= maxValues && label != "route" && label != "endpoint" {
				slices.Sort(values)
				text += " (" + strings.Join(values, ", ") + ")"
			}
			labels = append(labels, text)
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, f.kind, strings.Join(labels, "; "), f.help)
	}
	old, err := os.ReadFile(file)
	must(t, err)
	const head = "| metric | type | labels | what it is |\n| --- | --- | --- | --- |\n"
	intro, _, found := strings.Cut(string(old), head)
	if !found {
		t.Fatalf("%s has no table of metrics", file)
	}
	want := intro + head + table.String()
	if *rewrite {
		must(t, os.WriteFile(file, []byte(want), 0o600))
	} else if string(old) != want {
		t.Errorf("%s is not what usher exposes: run go test ./internal/app -run %s -rewrite", file, t.Name())
	}
}

// foreign are the metrics of other programs that the dashboard shows beside.
var foreign = []string{"jitsi_jicofo_participants_current"}

var (
	metricForm  = regexp.MustCompile(`\b((?:usher|jitsi)_[a-z_]+)(?:\{([^}]*)\})?`)
	labelForm   = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	groupedForm = regexp.MustCompile(`\b(?:by|on) ?\(([^)]*)\)`)
)

// TestRulesAndDashboardNameMetricsThatExist, with their labels, and the values that
// they look for.
func TestRulesAndDashboardNameMetricsThatExist(t *testing.T) {
	all := everyMetric(t)
	for name, f := range all { // what a scrape has of a histogram
		if f.kind == "histogram" {
			labels := maps.Clone(f.labels)
			labels["le"] = nil
			all[name+"_bucket"] = family{labels: labels}
			all[name+"_sum"], all[name+"_count"] = f, f
		}
	}
	checked := 0
	check := func(where, expr string) {
		t.Helper()
		known := []string{"instance"} // by Prometheus
		for _, m := range metricForm.FindAllStringSubmatch(expr, -1) {
			if slices.Contains(foreign, m[1]) {
				continue
			}
			f, exists := all[m[1]]
			if !exists {
				t.Errorf("%s: there is no metric %s", where, m[1])
				continue
			}
			checked++
			known = slices.AppendSeq(known, maps.Keys(f.labels))
			for _, label := range labelForm.FindAllStringSubmatch(m[2], -1) {
				values, exists := f.labels[label[1]]
				for _, value := range strings.Split(label[3], "|") {
					if !exists || values != nil && !slices.Contains(values, value) {
						t.Errorf("%s: %s has no series with %s", where, m[1], label[0])
					}
				}
			}
		}
		for _, m := range groupedForm.FindAllStringSubmatch(expr, -1) {
			for _, label := range strings.Split(m[1], ",") {
				if !slices.Contains(known, strings.TrimSpace(label)) {
					t.Errorf("%s: %s groups by %s, which no metric of it has", where, expr, label)
				}
			}
		}
	}
	rules, err := os.ReadFile("../../deploy/prometheus/usher.rules.yml")
	must(t, err)
	for line := range strings.Lines(string(rules)) {
		if _, expr, ok := strings.Cut(line, "expr: "); ok {
			check("usher.rules.yml", expr)
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile("../../deploy/grafana/usher.json")
	must(t, err)
	must(t, json.Unmarshal(text, &board))
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			check("dashboard, "+panel.Title, target.Expr)
		}
	}
	if checked < 40 {
		t.Errorf("%d metrics checked, want those of rules and dashboard", checked)
	}
}
