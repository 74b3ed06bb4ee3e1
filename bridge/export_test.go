package bridge

import (
	"os"
	"syscall"
)

// ErrNoSpace is what a full disk says.
var ErrNoSpace error = syscall.ENOSPC

// OpusLength is opusLength.
func OpusLength(p []byte) int { return int(opusLength(p)) }

// OnDisk makes the part write to a disk on which what room says is left, for
// each file, in bytes.
func (cfg *PartConfig) OnDisk(room func() int64) {
	cfg.create = func(path string) (file, error) {
		if room() <= 0 {
			return nil, ErrNoSpace
		}
		f, err := os.Create(path)
		return &fullFile{f, room}, err
	}
}

// fullFile writes as much as there is room, as a disk does.
type fullFile struct {
	*os.File
	room func() int64
}

func (f *fullFile) WriteAt(b []byte, at int64) (int, error) {
	if left := max(0, f.room()-at); int64(len(b)) > left {
		n, _ := f.File.WriteAt(b[:left], at)
		return n, ErrNoSpace
	}
	return f.File.WriteAt(b, at)
}
