package webhook

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/stack/stacktest"
	"usher/store"
)

// What the version before this one kept for endpoints, as it wrote it: 1,000
// events of 20 meetings for two endpoints, of which one fails; a dead letter, an
// event that was refused twice, one that failed three times, and one that is on
// its way. The file holds commands in Redis's protocol.
const (
	oldQueues   = "testdata/queue-fb80e40.resp"
	oldExchange = "testdata/exchange-fb80e40.lua"
	oldKeys     = "usher:{upgrade}:"
)

// readCommands reads commands in Redis's protocol (RESP, arrays of bulk strings).
func readCommands(t *testing.T, name string) (commands [][]any) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := bufio.NewReader(file)
	number := func(sign byte) int {
		line, err := r.ReadString('\n')
		if err != nil || line[0] != sign {
			t.Fatalf("%s: %q, %v; want a number after %c", name, line, err, sign)
		}
		n, err := strconv.Atoi(strings.TrimRight(line[1:], "\r\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	for {
		if _, err := r.Peek(1); err == io.EOF {
			return commands
		}
		var command []any
		for range number('*') {
			text := make([]byte, number('$')+2)
			if _, err := io.ReadFull(r, text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			command = append(command, string(text[:len(text)-2]))
		}
		commands = append(commands, command)
	}
}

// oldProcess is a process of the version before, as far as deliveries go: its
// script, and what its runner did around it.
type oldProcess struct {
	t      *testing.T
	rdb    *redis.Client
	script *redis.Script
	calls  int
	stale  int
}

type oldClaim struct{ meeting, token, event string }

// exchange hands in what was delivered and takes claims of what is due.
func (o *oldProcess) exchange(endpoint string, take int, delivered ...oldClaim) (claims []oldClaim) {
	o.t.Helper()
	o.calls++
	key := func(kind string) string { return oldKeys + kind + ":" + endpoint }
	args := []any{take, fmt.Sprint("standby.", o.calls), 25_000, 15_000, false, 1, 1000, 5, len(delivered)}
	for _, c := range delivered {
		args = append(args, c.meeting, c.token, "delivered", 0, 0, 0, 0, false, `{"id":"dlv_old"}`)
	}
	answer, err := o.script.Run(o.t.Context(), o.rdb, []string{
		key("due"), key("tries"), key("gaps"), key("health"), key("dead"), key("attempts"), key("lane") + ":",
	}, args...).Slice()
	if err != nil {
		o.t.Fatal(err)
	}
	o.stale += int(answer[2].(int64))
	for claim := range slices.Chunk(answer[3:], 7) {
		claims = append(claims, oldClaim{claim[0].(string), claim[1].(string), claim[2].(string)})
	}
	return claims
}

// TestUpgrade has this version take the lead of a store of the version before,
// while a standby of that version delivers too and has claims: nothing is lost,
// order is kept, what comes again is what the standby had in flight, and it finds
// nothing afterwards.
func TestUpgrade(t *testing.T) {
	server := stacktest.Redis(t)
	opt, err := redis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	want := map[string][]string{} // ids, by endpoint and meeting
	total := 0
	for _, command := range readCommands(t, oldQueues) {
		if err := rdb.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
		if name, lane := strings.CutPrefix(command[1].(string), oldKeys+"lane:"); lane {
			for _, text := range command[2:] {
				want[name] = append(want[name], readEvent(json.RawMessage(text.(string))).ID)
				total++
			}
		}
	}
	if total != 1000 { // besides a dead letter
		t.Fatalf("%d events in the sample, want 1000", total)
	}

	var mu sync.Mutex
	got := map[string][]string{} // likewise, first arrivals
	seen := map[string]bool{}
	repeats, gaps := 0, 0
	arrive := func(endpoint string, text []byte) {
		mu.Lock()
		defer mu.Unlock()
		ev := readEvent(text)
		if seen[endpoint+ev.ID] {
			repeats++
			return
		}
		seen[endpoint+ev.ID] = true
		if strings.HasSuffix(string(text), `"gap":true}`) {
			gaps++
		}
		name := endpoint + ":" + ev.MeetingID
		got[name] = append(got[name], ev.ID)
	}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrive(strings.TrimPrefix(r.URL.Path, "/"), body)
	}))
	defer receiver.Close()

	// The standby delivers some, and has more on their way when this version
	// begins to lead.
	const crm, other = "whk_crm", "whk_01M81B5MMTDZ52B06V6T8YRHX5"
	source, err := os.ReadFile(oldExchange)
	if err != nil {
		t.Fatal(err)
	}
	standby := &oldProcess{t: t, rdb: rdb, script: redis.NewScript(string(source))}
	claims := standby.exchange(crm, 8)
	for _, c := range claims {
		arrive(crm, []byte(c.event))
	}
	claims = standby.exchange(crm, 16, claims...)
	if len(claims) != 16 {
		t.Fatalf("the standby has %d claims, want 16", len(claims))
	}

	st, err := store.NewRedis(store.Config{URL: server.URL, Site: "upgrade"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	secret := []Secret{NewSecret()}
	e := Endpoint{URL: receiver.URL + "/" + other, Secrets: secret, Events: []string{"*"}, Dialect: Standard}
	if _, err := st.PutEndpoint(t.Context(), other, nil, e.encode()); err != nil {
		t.Fatal(err)
	}
	registry, err := NewRegistry(Config{
		Store: st, AllowCIDRs: loopback,
		Endpoints: []Endpoint{{Name: "crm", URL: receiver.URL + "/" + crm, Secrets: secret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := NewDeliverer(registry)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- st.Lead(ctx, "new", d.Lead, nothingToRewrite) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		d.RetryNow(crm) // some were to wait when the sample was made
		waits := 0
		for _, id := range []string{crm, other} {
			b, err := st.Backlog(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			waits += b.Events
		}
		mu.Lock()
		arrived := len(seen)
		mu.Unlock()
		if arrived == total && waits == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d events arrived, %d wait", arrived, total, waits)
		}
	}
	for _, c := range claims { // its requests were slow
		arrive(crm, []byte(c.event))
	}
	for _, id := range []string{crm, other} {
		if more := standby.exchange(id, 16, claims...); len(more) > 0 {
			t.Errorf("the standby is given %d events of %s, want none", len(more), id)
		}
		claims = nil
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("lead = %v", err)
	}
	for name, ids := range want {
		if !slices.Equal(got[name], ids) {
			t.Errorf("of %s came %d events in the order %v, want %d: %v", name, len(got[name]), got[name], len(ids), ids)
		}
	}
	if standby.stale != 16 || repeats > 16+MaxPerEndpoint || gaps != 1 {
		t.Errorf("%d of the standby's claims were void, %d events came again, %d said gap; want 16, 32 at most, one", standby.stale, repeats, gaps)
	}
	for _, kind := range []string{"lane", "due", "tries", "gaps", "health", "queue", "queued", "retry"} {
		if left := rdb.Keys(t.Context(), oldKeys+kind+":*").Val(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	dead, next, err := registry.Attempts(t.Context(), crm, true, "", 10)
	if err != nil || len(dead) != 1 || next != "" {
		t.Errorf("dead letters = %v, %q, %v; want the one from before", dead, next, err)
	}
}

// TestUpgradeKeepsTheSchedule looks at what a new leader makes of tries, gaps and
// failures.
func TestUpgradeKeepsTheSchedule(t *testing.T) {
	server := stacktest.Redis(t)
	opt, err := redis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	st, err := store.NewRedis(store.Config{URL: server.URL, Site: "upgrade"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	now := time.Now().UnixMilli()
	for _, command := range [][]any{
		{"RPUSH", oldKeys + "lane:whk_a:mtg_1", "one"},
		{"RPUSH", oldKeys + "lane:whk_a:mtg_2", "two"},
		{"RPUSH", oldKeys + "lane:whk_a:mtg_3", "three"},
		{"ZADD", oldKeys + "due:whk_a", now, "mtg_1", now + 3_600_000, "mtg_2", now, "mtg_3"},
		{"HSET", oldKeys + "tries:whk_a", "mtg_2", fmt.Sprint("4 1 ", now+3_600_000, " "), "mtg_3", "0 0 0 OLD.1.1"},
		{"ZADD", oldKeys + "gaps:whk_a", now, "mtg_1", now, "mtg_gone"},
		{"HSET", oldKeys + "health:whk_a", "fails", 7, "since", now - 600_000, "until", now, "failing", 1},
	} {
		if err := rdb.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	meetings, retries, h, err := st.LoadQueue(t.Context(), "whk_a")
	slices.Sort(meetings)
	if err != nil || !slices.Equal(meetings, []string{"mtg_1", "mtg_2", "mtg_3"}) {
		t.Errorf("meetings = %v, %v; want three", meetings, err)
	}
	r := retries["mtg_2"]
	if len(retries) != 3 || !retries["mtg_1"].Gap || !retries["mtg_gone"].Gap || r.Failures != 4 || r.Refusals != 1 || r.Due.Round(time.Minute) != time.Hour || r.Gap {
		t.Errorf("retries = %+v", retries)
	}
	if !h.Failing || !h.Stalled || h.Failures != 7 || h.Since.Round(time.Minute) != 10*time.Minute {
		t.Errorf("health = %+v", h)
	}
	// Rolled back and forth: what an old leader added comes behind.
	for _, command := range [][]any{
		{"RPUSH", oldKeys + "lane:whk_a:mtg_1", "four"},
		{"ZADD", oldKeys + "due:whk_a", now, "mtg_1"},
	} {
		if err := rdb.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := st.LoadQueue(t.Context(), "whk_a"); err != nil {
		t.Fatal(err)
	}
	lists, err := st.ReadQueues(t.Context(), "whk_a", []string{"mtg_1"}, 9)
	if err != nil || fmt.Sprintf("%s", lists) != "[[one four]]" {
		t.Errorf("list = %s, %v; want one, four", lists, err)
	}
}
