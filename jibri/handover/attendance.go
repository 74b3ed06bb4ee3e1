package handover

import (
	"context"
	"os"
	"path/filepath"

	"usher/meeting"
	"usher/storage"
)

// attendanceFile says who was in the session, beside its recording.
const attendanceFile = "participants.json"

// storeAttendance puts who was in the session where its recording belongs, once, or
// leaves it in the session directory when that stays, and notes its path. No recording
// is held up by that: what is wrong is logged.
func (t *task) storeAttendance(ctx context.Context, root *os.Root, to storage.Storage, text []byte, stem string) {
	if to != nil && t.Attendance != "" {
		return
	}
	at, err := putAttendance(ctx, root, to, text, stem)
	if err == nil {
		t.Attendance = at.Path
		err = t.save()
	}
	if err != nil {
		t.log.Warn("cannot store who was in the session; the recording is handed over without", "err", err)
	}
}

func putAttendance(ctx context.Context, root *os.Root, to storage.Storage, text []byte, stem string) (at meeting.RecordingFile, err error) {
	_ = root.Remove(attendanceFile) // of the call before, or a link that somebody has put there
	if err := root.WriteFile(attendanceFile, text, 0o640); err != nil {
		return at, err
	}
	file, err := storage.OpenFile(root, attendanceFile)
	if err != nil {
		return at, err
	}
	defer file.Close()
	if to == nil {
		at.Path = filepath.Base(root.Name()) + "/" + attendanceFile
		return at, file.Sync()
	}
	if at, err = to.Put(ctx, file, stem+".participants"); err != nil {
		return at, err
	}
	return at, root.Remove(attendanceFile)
}
