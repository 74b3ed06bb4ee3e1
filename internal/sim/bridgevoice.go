package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os/exec"
)

// SampleRate is that of all sound here, mono, per second.
const SampleRate = 48000

// frameSamples is the sound in a packet.
const frameSamples = SampleRate / 50

// Packet is 20 ms of sound as a browser sends it.
type Packet struct {
	Opus  []byte
	Level uint8 // −dBov (RFC 6464)
}

// Voice is sound as a browser sends it.
type Voice []Packet

// Packet returns packet n; see Microphone.Sound.
func (v Voice) Packet(n int) (Packet, bool) {
	if n >= len(v) {
		return Packet{}, false
	}
	return v[n], true
}

// Encode makes a voice of sound with the settings of a browser: 32 kbit/s, 20
// ms. It needs ffmpeg.
func Encode(ctx context.Context, pcm []int16) (Voice, error) {
	file, err := run(ctx, pcmBytes(pcm), "ffmpeg", "-v", "error", "-f", "s16le", "-ar", "48000", "-ac", "1", "-i", "pipe:0",
		"-c:a", "libopus", "-application", "voip", "-b:a", "32k", "-frame_duration", "20", "-f", "ogg", "pipe:1")
	if err != nil {
		return nil, err
	}
	packets, err := OggPackets(file)
	if err != nil {
		return nil, err
	}
	if len(packets) < 2 {
		return nil, errors.New("ffmpeg wrote no sound")
	}
	voice := make(Voice, 0, len(packets))
	for n, opus := range packets[2:] { // after the headers
		frame := pcm[min(n*frameSamples, len(pcm)):min((n+1)*frameSamples, len(pcm))]
		voice = append(voice, Packet{opus, Level(frame)})
	}
	return voice, nil
}

// Decode decodes a file to mono with ffmpeg.
func Decode(ctx context.Context, path string) ([]int16, error) {
	out, err := run(ctx, nil, "ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ar", "48000", "-ac", "1", "pipe:1")
	return bytesPCM(out), err
}

// Speak reads a text aloud with espeak-ng, in one of its voices.
func Speak(ctx context.Context, voice, text string) ([]int16, error) {
	wav, err := run(ctx, nil, "espeak-ng", "-v", voice, "--stdout", text)
	if err != nil {
		return nil, err
	}
	out, err := run(ctx, wav, "ffmpeg", "-v", "error", "-i", "pipe:0", "-f", "s16le", "-ar", "48000", "-ac", "1", "pipe:1")
	return bytesPCM(out), err
}

// Level is how loud sound is, in −dBov: 0 for a square wave at full scale, 127
// for silence (RFC 6464 §3, RFC 6465 §4).
func Level(pcm []int16) uint8 {
	var sum float64
	for _, sample := range pcm {
		sum += float64(sample) * float64(sample)
	}
	if sum == 0 {
		return silentLevel
	}
	rms := math.Sqrt(sum/float64(len(pcm))) / math.MaxInt16
	return uint8(min(silentLevel, max(0, math.Round(-20*math.Log10(rms)))))
}

// OggPackets returns the packets of an Ogg file with one stream, checksums
// unread.
func OggPackets(file []byte) (packets [][]byte, err error) {
	const header = 27
	var packet []byte
	for len(file) > 0 {
		if len(file) < header || string(file[:4]) != "OggS" || len(file) < header+int(file[26]) {
			return packets, fmt.Errorf("no page after %d packets", len(packets))
		}
		lacing := file[header : header+int(file[26])]
		file = file[header+len(lacing):]
		for _, size := range lacing {
			if len(file) < int(size) {
				return packets, fmt.Errorf("the file ends in packet %d", len(packets))
			}
			packet = append(packet, file[:size]...)
			file = file[size:]
			if size < 255 {
				packets, packet = append(packets, packet), nil
			}
		}
	}
	return packets, nil
}

func run(ctx context.Context, stdin []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, errs.Bytes())
	}
	if errs.Len() > 0 {
		return nil, fmt.Errorf("%s: %s", name, errs.Bytes())
	}
	return out.Bytes(), nil
}

func pcmBytes(pcm []int16) []byte {
	b := make([]byte, 0, 2*len(pcm))
	for _, sample := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(sample))
	}
	return b
}

func bytesPCM(b []byte) []int16 {
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm
}
