package sim

import "context"

// modeStream is the recording_mode of a live stream. The focus has one session per
// room, for a stream or for a recording; a Jibri that streams writes no file and
// runs no hook (StreamingJibriService).
const modeStream = "stream"

// StartStream asks the focus to stream the room live, as the client's dialog does,
// and returns Jibri's id of the stream. It blocks for the answer; a no is a
// [RefusedError]. What the focus then says is the person's [Person.Recording].
func (p *Person) StartStream(ctx context.Context) (session string, err error) {
	answer, err := p.askJibri(ctx, jibriIQ{Action: "start", Mode: modeStream, Stream: "rtmp://127.0.0.1/live/key"})
	return answer.Session, err
}

// StopStream asks the focus to end it.
func (p *Person) StopStream(ctx context.Context) error {
	_, err := p.askJibri(ctx, jibriIQ{Action: "stop", Mode: modeStream})
	return err
}
