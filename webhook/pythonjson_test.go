package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"usher/internal/stack/stacktest"
	"usher/meeting"
)

// python is a real Python, or another interpreter, that works off lines.
type python struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// startPython runs a program until the test ends.
func startPython(t testing.TB, arguments ...string) *python {
	t.Helper()
	return startProgram(t, "python3", arguments...)
}

func startProgram(t testing.TB, interpreter string, arguments ...string) *python {
	t.Helper()
	cmd := exec.Command(interpreter, arguments...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // its input is at an end, and so is the program
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", interpreter, err, complaints.String())
		}
	})
	return &python{in: in, out: bufio.NewReader(out)}
}

// ask writes a line and returns the line that the program answers.
func (p *python) ask(t testing.TB, line string) string {
	t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(answer, "\n")
}

// pythonAgain reads JSON and writes it again, as receivers do.
const pythonAgain = `
import json, sys
for line in sys.stdin:
    print(json.dumps(json.loads(line), separators=(",", ":")), flush=True)
`

// TestPythonWritesTheSame lets Python write 10,000 random objects again.
func TestPythonWritesTheSame(t *testing.T) {
	stacktest.Needed(t)
	p := startPython(t, "-c", pythonAgain)
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		got, err := EncodePython(randomObject(random, 3))
		if err != nil {
			t.Fatal(err)
		}
		if want := p.ask(t, string(got)); string(got) != want {
			t.Fatalf("we write\n%s\nand Python\n%s", got, want)
		}
	}
}

// javascriptAgain does the same in JavaScript.
const javascriptAgain = `
const lines = require("node:readline").createInterface({ input: process.stdin });
lines.on("line", (line) => console.log(JSON.stringify(JSON.parse(line))));
`

// TestJavaScriptWritesTheSame lets JavaScript write 10,000 random objects again. Its
// numbers are floats, so larger integers than bodies have are left out.
func TestJavaScriptWritesTheSame(t *testing.T) {
	stacktest.Needed(t)
	p := startProgram(t, "node", "-e", javascriptAgain)
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		got, err := EncodeJavaScript(map[string]any{"k": []any{randomString(random), random.IntN(1 << 53), nil, true}, randomString(random) + "x": randomString(random)})
		if err != nil {
			t.Fatal(err)
		}
		if want := p.ask(t, string(got)); string(got) != want {
			t.Fatalf("we write\n%s\nand JavaScript\n%s", got, want)
		}
	}
}

// awkward is what random strings are made of.
var awkward = []string{
	"", "a", "José", " <b>&'/", "😀", "\U0010ffff", "\u2028", "\x7f", "\x00", "\x1f", "\b\f\n\r\t", `"\`, "\ufffd", "\xff", "\xed\xa0\x80",
	"\ud7ff\ue000", "日本語", "\\u0041", "\\\u2028", "\\u2028\u2029\u2028", "x̂", "é"[:1],
}

func randomString(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(6) {
		b.WriteString(awkward[r.IntN(len(awkward))])
		b.WriteRune(rune(r.IntN(0x11_0000))) // surrogates become U+FFFD
	}
	return b.String()
}

func randomValue(r *rand.Rand, depth int) any {
	switch kind := r.IntN(8); {
	case kind == 0:
		return nil
	case kind == 1:
		return r.IntN(2) == 0
	case kind == 2:
		return int(r.Uint64()) >> r.IntN(64)
	case kind == 3:
		return []int64{0, -1, math.MaxInt64, math.MinInt64}[r.IntN(4)]
	case kind <= 5 || depth == 0:
		return randomString(r)
	case kind == 6:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, randomValue(r, depth-1))
		}
		return list
	}
	return randomObject(r, depth-1)
}

// randomObject returns a map, or a struct, whose order is that of its fields.
func randomObject(r *rand.Rand, depth int) any {
	if r.IntN(4) == 0 {
		return struct {
			Z string       `json:"z"`
			A any          `json:"é😀"`
			M meeting.Time `json:"m"`
			O int64        `json:"o,omitempty"`
		}{randomString(r), randomValue(r, depth), meeting.Time{Time: time.UnixMilli(r.Int64N(1 << 40))}, r.Int64() - 1<<62}
	}
	o := map[string]any{}
	for i := range r.IntN(8) {
		// The number keeps the keys apart.
		o[fmt.Sprint(randomString(r), i)] = randomValue(r, depth)
	}
	return o
}

// FuzzPython compares with a real Python.
func FuzzPython(f *testing.F) {
	stacktest.Needed(f)
	for _, s := range awkward {
		f.Add(s, int64(len(s)))
	}
	p := startPython(f, "-c", pythonAgain)
	f.Fuzz(func(t *testing.T, s string, i int64) {
		got, err := EncodePython(map[string]any{"list": []any{s, i, nil, true}, "o" + s: map[string]any{s: i}})
		if err != nil {
			t.Fatal(err)
		}
		if want := p.ask(t, string(got)); string(got) != want {
			t.Errorf("we write\n%s\nand Python\n%s", got, want)
		}
		var back struct{ List []any }
		if err := json.Unmarshal(got, &back); err != nil || back.List[0] != string([]rune(s)) {
			t.Errorf("%q became %q, %v", s, back.List, err)
		}
	})
}

func BenchmarkEncodePython(b *testing.B) {
	var event meeting.Event
	left := meeting.Time{Time: time.Unix(1795342300, 0)}
	for range 5 {
		event.Data.Participants = append(event.Data.Participants, meeting.ParticipantInfo{Person: meeting.Person{
			ID: "prt_01M81B5MMTDZ52B06V6T8YRHX4", Name: "José <b>&😀", UserID: "u1", Email: "jose@example.org", LeftAt: left,
		}})
	}
	event.Data.Session = &meeting.SessionInfo{EndedAt: left}
	_, body := allDialects[EventSync].Render[meeting.SessionEnded](event)
	text, err := EncodePython(body)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = EncodePython(body) // it has just been encoded
	}
	perKB := float64(b.Elapsed()) / float64(time.Microsecond) / float64(b.N) / (float64(len(text)) / 1000)
	b.ReportMetric(perKB, "µs/KB")
}
