package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"usher/config"
	"usher/internal/stack/stacktest"
)

// documents reads a file of YAML documents.
func documents(t *testing.T, file string, all any) {
	t.Helper()
	stacktest.Needed(t)
	// docker-compose brings the module, for Debian's own Python.
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import sys, json, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)", file)
	if err := json.Unmarshal([]byte(output(t, cmd)), all); err != nil {
		t.Fatal(err)
	}
}

// settings are the variables of `usher serve`.
func settings(t *testing.T) []string {
	t.Helper()
	var c struct{ config.Config }
	parser, err := kong.New(&c, config.Options(os.LookupEnv)...)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, flag := range parser.Model.Flags {
		names = append(names, flag.Envs...)
	}
	return names
}

// accepted fails unless usher serve takes the variables.
func accepted(t *testing.T, env map[string]string) {
	t.Helper()
	known := settings(t)
	for name, value := range env {
		if !slices.Contains(known, name) {
			t.Errorf("usher serve has no setting %s", name)
		}
		t.Setenv(name, value)
	}
	var c struct{ config.Config }
	parser, err := kong.New(&c, config.Options(os.LookupEnv)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Errorf("usher serve: %v", err)
	}
}

// TestCoolify: the fragment in the template is the one of prosody-config, usher takes
// what Coolify passes, empty variables too, and both agree on every name.
func TestCoolify(t *testing.T) {
	var all []struct {
		Services map[string]struct {
			Environment []string
			Volumes     []any
			Networks    map[string]any
		}
		Volumes map[string]any
	}
	documents(t, "coolify/jitsi-with-usher.yaml", &all)
	services := all[0].Services
	fragment := ""
	for _, volume := range services["prosody"].Volumes {
		if file, ok := volume.(map[string]any); ok {
			fragment, _ = file["content"].(string)
		}
	}
	if fragment != read(t, "../prosody-config/usher.cfg.lua") {
		t.Error("the fragment in the template is not prosody-config/usher.cfg.lua: paste it, ten spaces to the right")
	}
	env, theirs := map[string]string{}, map[string]string{}
	for _, line := range services["prosody"].Environment {
		name, value, _ := strings.Cut(line, "=")
		theirs[name] = value
	}
	for _, line := range services["usher"].Environment {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, "SERVICE_") { // which asks Coolify for a domain
			continue
		}
		if both, ok := theirs[name]; ok && both != value {
			t.Errorf("%s is %q for Prosody and %q for usher", name, both, value)
		}
		value = regexp.MustCompile(`\$\{\w+:-\}`).ReplaceAllString(value, "")
		value = regexp.MustCompile(`\$SERVICE_URL_\w+`).ReplaceAllString(value, "https://meet.example.com")
		env[name] = regexp.MustCompile(`\$SERVICE_PASSWORD_64_`).ReplaceAllString(value, "0123456789abcdef")
	}
	accepted(t, env)
	for name, want := range map[string]string{
		"USHER_XMPP_DOMAIN": theirs["XMPP_DOMAIN"], "USHER_MUC": theirs["XMPP_MUC_DOMAIN"], "USHER_HIDDEN_DOMAIN": theirs["XMPP_HIDDEN_DOMAIN"],
		"USHER_FOCUS_JID": "focus@" + theirs["XMPP_AUTH_DOMAIN"], "USHER_BREWERY": "jibribrewery@" + theirs["XMPP_INTERNAL_MUC_DOMAIN"],
		"USHER_COMPONENT_DOMAIN": "usher." + theirs["XMPP_DOMAIN"],
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	for _, volume := range []string{"jitsi-prosody", "usher-redis"} {
		if _, ok := all[0].Volumes[volume]; !ok {
			t.Errorf("there is no volume %s", volume)
		}
	}
}

// TestKubernetes: usher takes what the manifest and its secret pass, Prosody's chart
// gets what the fragment needs, and probes and monitors ask where usher answers.
func TestKubernetes(t *testing.T) {
	type variable struct{ Name, Value string }
	var objects []struct {
		Kind     string
		Metadata struct {
			Name   string
			Labels map[string]string
		}
		Spec struct {
			Selector map[string]any
			Template struct {
				Spec struct {
					EnableServiceLinks *bool
					Containers         []struct {
						Env   []variable
						Ports []struct {
							Name          string
							ContainerPort int
						}
					}
				}
			}
			Ports []struct {
				Name, TargetPort string
				Port             int
			}
		}
	}
	documents(t, "helm/usher.yaml", &objects)
	pod := objects[0].Spec.Template.Spec
	env := map[string]string{}
	for _, v := range pod.Containers[0].Env {
		env[v.Name] = v.Value
	}
	for _, name := range kubernetesSecrets(t) {
		env[name] = "redis://0123456789abcdef"
	}
	if len(env) < 20 {
		t.Errorf("%d settings, want those of the secret too", len(env))
	}
	if env["USHER_TRUSTED_PROXY"] == "" {
		t.Error("USHER_TRUSTED_PROXY is not set: to usher all people have the address of the Ingress")
	}
	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		t.Error("Kubernetes makes variables of the Service usher")
	}
	accepted(t, env)
	for _, object := range objects {
		if object.Kind == "Service" && !strings.Contains(env["USHER_LISTEN"]+" "+env["USHER_ADMIN_LISTEN"], jsonText(t, object.Spec.Ports[0].Port)) {
			t.Errorf("the Service %s has port %d, where usher does not listen", object.Metadata.Name, object.Spec.Ports[0].Port)
		}
	}

	var values []struct {
		Prosody struct {
			ExtraEnvs    map[string]string
			ExtraSecrets []variable
			ExtraFiles   []struct{ Path string }
			Persistence  struct{ Enabled bool }
			Service      struct{ Ports map[string]int }
		}
	}
	documents(t, "helm/values.yaml", &values)
	prosody := values[0].Prosody
	if !prosody.Persistence.Enabled || prosody.ExtraFiles[0].Path != "/config/conf.d/usher.cfg.lua" || prosody.Service.Ports["xmpp-component"] != 5347 {
		t.Errorf("Prosody's values are %+v, want data that persists, the fragment, and the component's port", prosody)
	}
	for _, secret := range prosody.ExtraSecrets {
		if _, ok := env[secret.Name]; !ok {
			t.Errorf("Prosody has the secret %s, usher has not", secret.Name)
		}
	}
	if want := "http://usher:8480/reservations"; prosody.ExtraEnvs["PROSODY_RESERVATION_REST_BASE_URL"] != want {
		t.Errorf("reservations go to %q, want %q", prosody.ExtraEnvs["PROSODY_RESERVATION_REST_BASE_URL"], want)
	}
}

// kubernetesSecrets are the variables of the Secret usher.
func kubernetesSecrets(t *testing.T) []string {
	t.Helper()
	head, _, _ := strings.Cut(read(t, "helm/usher.yaml"), "apiVersion")
	return regexp.MustCompile(`USHER_[A-Z_]+[A-Z]`).FindAllString(head, -1)
}

// TestKubernetesCommands runs what the guide has a reader type, with a kubectl and a
// helm that only look at it.
func TestKubernetesCommands(t *testing.T) {
	stacktest.Needed(t)
	bin := t.TempDir()
	fake(t, bin, "kubectl", `
case $* in
"create secret generic usher "*) shift 4; printf '%s\n' "$@" >`+bin+`/secret ;;
"create secret generic usher-prosody-certs "*) ;;
"get secret usher -o jsonpath={.data."*) printf %s "password of $5" | base64 ;;
"exec -i jitsi-prosody-0 -- prosodyctl "*) shift 4; { echo "$*"; cat; } >>`+bin+`/accounts ;;
"apply -f usher.yaml") [ -f usher.yaml ] ;;
*) echo "kubectl $* was not expected" >&2; exit 1 ;;
esac`)
	fake(t, bin, "helm", `
case $* in
"repo add jitsi https://"*) ;;
"upgrade --install jitsi jitsi/jitsi-meet -f site.yaml -f values.yaml --set-file "*"[0].content="*) [ -f values.yaml ] && [ -f "${10#*=}" ] ;;
*) echo "helm $* was not expected" >&2; exit 1 ;;
esac`)
	_, guide, _ := strings.Cut(read(t, "../docs/platforms.md"), "## Kubernetes")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(guide, -1) {
		output(t, command(t, "helm", bin, "sh", "-eu", "-c", block[1]))
	}
	made := read(t, filepath.Join(bin, "secret"))
	for _, name := range kubernetesSecrets(t) {
		if !regexp.MustCompile(`(?m)^--from-literal=` + name + `=(redis://.*|[0-9a-f]{64})$`).MatchString(made) {
			t.Errorf("the Secret has no %s:\n%s", name, made)
		}
	}
	for domain, password := range map[string]string{"hidden.meet.jitsi": "OCCUPANT", "auth.meet.jitsi": "BREWERY"} {
		password = "password of jsonpath={.data.USHER_" + password + "_PASSWORD}\n"
		want := "prosodyctl --config /run/prosody/config/prosody.cfg.lua register usher " + domain + "\n" + password + password
		if got := read(t, filepath.Join(bin, "accounts")); !strings.Contains(got, want) {
			t.Errorf("accounts are created by\n%s\nwant\n%s", got, want)
		}
	}
}
