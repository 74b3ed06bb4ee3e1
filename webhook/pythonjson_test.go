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
)

// python is a real Python that works off lines.
type python struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// startPython runs a program until the test ends.
func startPython(t testing.TB, arguments ...string) *python {
	t.Helper()
	cmd := exec.Command("python3", arguments...)
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
			t.Errorf("python: %v: %s", err, complaints.String())
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
	p := startPython(t, "-c", pythonAgain)
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		got := string(AppendPython(nil, randomObject(random, 3)))
		if want := p.ask(t, got); got != want {
			t.Fatalf("we write\n%s\nand Python\n%s", got, want)
		}
	}
}

// awkward is what random strings are made of.
var awkward = []string{
	"", "a", "José", " <b>&'/", "😀", "\U0010ffff", "\u2028", "\x7f", "\x00", "\x1f", "\b\f\n\r\t", `"\`, "\ufffd", "\xff", "\xed\xa0\x80",
	"\ud7ff\ue000", "日本語", "\\u0041", "x̂", "é"[:1],
}

func randomString(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(6) {
		b.WriteString(awkward[r.IntN(len(awkward))])
		b.WriteRune(rune(r.IntN(0x11_0000))) // surrogates become U+FFFD
	}
	return b.String()
}

func randomFloat(r *rand.Rand) float64 {
	switch r.IntN(4) {
	case 0:
		return float64(r.IntN(2000)-1000) / 8
	case 1:
		return math.Pow(10, float64(r.IntN(40)-20))
	case 2:
		return []float64{0, math.Copysign(0, -1), 0.1, 1e15, 9999999999999998, 1e16, 1e-4, 9.999e-5, math.MaxFloat64, 5e-324, math.Inf(1), math.Inf(-1), math.NaN()}[r.IntN(13)]
	}
	return math.Float64frombits(r.Uint64())
}

func randomValue(r *rand.Rand, depth int) any {
	switch kind := r.IntN(9); {
	case kind == 0:
		return nil
	case kind == 1:
		return r.IntN(2) == 0
	case kind == 2:
		return int(r.Uint64()) >> r.IntN(64)
	case kind == 3:
		return []int64{0, -1, math.MaxInt64, math.MinInt64}[r.IntN(4)]
	case kind == 4:
		return randomFloat(r)
	case kind <= 6 || depth == 0:
		return randomString(r)
	case kind == 7:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, randomValue(r, depth-1))
		}
		return list
	}
	return randomObject(r, depth-1)
}

func randomObject(r *rand.Rand, depth int) Object {
	o := Object{}
	for i := range r.IntN(8) {
		// The number keeps the keys apart.
		o = append(o, Member{fmt.Sprint(randomString(r), i), randomValue(r, depth)})
	}
	return o
}

// TestPythonFloats has the limits between the two ways in which Python writes
// floats, as its interpreter shows them.
func TestPythonFloats(t *testing.T) {
	for f, want := range map[float64]string{
		1: "1.0", -0.5: "-0.5", 0.1: "0.1", 1e15: "1000000000000000.0", 1e16: "1e+16", 1e22: "1e+22", 0.0001: "0.0001", 1e-5: "1e-05",
		1.5e-7: "1.5e-07", 1e100: "1e+100", 123456789.25: "123456789.25", math.Copysign(0, -1): "-0.0", math.Inf(-1): "-Infinity",
	} {
		if got := string(AppendPython(nil, f)); got != want {
			t.Errorf("%g is %s, want %s", f, got, want)
		}
	}
}

// FuzzPython compares with a real Python.
func FuzzPython(f *testing.F) {
	for _, s := range awkward {
		f.Add(s, int64(len(s)), float64(len(s)))
	}
	p := startPython(f, "-c", pythonAgain)
	f.Fuzz(func(t *testing.T, s string, i int64, x float64) {
		got := AppendPython(nil, Object{{"list", []any{s, i, x, nil, true}}, {"o" + s, Object{{s, i}}}})
		if want := p.ask(t, string(got)); string(got) != want {
			t.Errorf("we write\n%s\nand Python\n%s", got, want)
		}
		var back struct{ List []any }
		if err := json.Unmarshal(got, &back); err == nil && back.List[0] != string([]rune(s)) {
			t.Errorf("%q became %q", s, back.List[0])
		} else if number := !math.IsNaN(x) && !math.IsInf(x, 0); (err == nil) != number {
			t.Errorf("%s: %v", got, err)
		}
	})
}

// bodyLike is about a kilobyte of what dialects send, with names that are not
// ASCII.
func bodyLike() Object {
	person := Object{
		{"id", "prt_01M81B5MMTDZ52B06V6T8YRHX4"}, {"name", "José <b>&😀"}, {"email", "jose@example.org"},
		{"joined_at", 1795341603}, {"left_at", 1795342300}, {"moderator", true}, {"user", nil},
	}
	o := Object{
		{"id", "evt_01M81B5MMTDZ52B06V6T8YRHX5"}, {"apiVersion", "1.0"}, {"createdAt", "2026-11-22T10:00:03.482Z"},
		{"type", "room.client.joined"}, {"numClients", 12}, {"numClientsByRoleName", Object{{"host", 1}, {"visitor", 11}}},
	}
	list := []any{}
	for range 5 {
		list = append(list, person)
	}
	return append(o, Member{"people", list})
}

func BenchmarkAppendPython(b *testing.B) {
	body := bodyLike()
	buffer := AppendPython(nil, body)
	b.SetBytes(int64(len(buffer)))
	b.ReportAllocs()
	for b.Loop() {
		buffer = AppendPython(buffer[:0], body)
	}
	perKB := float64(b.Elapsed()) / float64(time.Microsecond) / float64(b.N) / (float64(len(buffer)) / 1000)
	b.ReportMetric(perKB, "µs/KB")
}
