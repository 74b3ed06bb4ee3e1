package bridge

import (
	"errors"
	"io"
	"os"
)

const (
	// pageTime is the sound in a page, which is in memory until the page is full:
	// with what waits in reorderTime, a crash costs no more than a second.
	pageTime = 800 * millisecond
	// diskRetry is the time from a failed write to the next try.
	diskRetry = 5 * second
)

// errDisk says that a track waits for the next try to write.
var errDisk = errors.New("the disk does not take what is recorded")

// file is what a track needs of an *os.File.
type file interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640) //nolint:gosec // the group may read recordings
}

// track is one file of a person's sound. What lies between two packets is
// filled with silence: readers of sound count samples, not time stamps.
type track struct {
	name     string // of the file in the part's folder
	create   func() (file, error)
	comments []string

	file   file // nil before the first page
	pages  oggPages
	out    []byte  // headers that are not in the file yet
	end    samples // until which there is sound in the file and the page under way
	first  samples // position of the first packet
	begun  bool    // there was one
	source *source // that wrote last
	late   int     // packets left out because others had taken their place
	paged  samples // sound of packets in the page under way
	lost   samples // sound that could not be written

	// What is in the file for certain.
	size     int64
	saved    samples
	sequence uint32
	retry    samples // time of the next try after a failed write
}

func newTrack(name string, serial uint32, create func() (file, error), comments []string) *track {
	t := &track{name: name, create: create, comments: comments}
	t.pages.serial = serial
	t.out = t.pages.headers(nil, comments)
	return t
}

// write puts a packet at its position. One that overlaps with what is there by
// more than half is left out. An error means that sound was lost.
func (t *track) write(now, position samples, p packet) error {
	if now < t.retry {
		t.lost += p.length
		return errDisk
	}
	if t.end-position > p.length/2 {
		t.late++
		return nil
	}
	var failed error
	add := func(opus []byte, length samples) {
		if failed == nil {
			failed = t.add(now, opus, length)
		}
	}
	fill(position-t.end, add)
	if !t.begun {
		t.begun, t.first = true, t.end
	}
	add(p.opus, p.length)
	if failed != nil {
		t.lost += p.length
		return failed
	}
	t.paged += p.length
	return nil
}

func (t *track) add(now samples, opus []byte, length samples) error {
	if t.end-t.saved+length > pageTime || !t.pages.fits(opus) {
		if err := t.save(now, 0); err != nil {
			return err
		}
	}
	t.pages.add(opus)
	t.end += length
	return nil
}

// save writes the page under way, if there is one. If that fails, the page is
// lost and the file as it was before.
func (t *track) save(now samples, kind byte) error {
	if t.pages.empty() {
		return nil
	}
	out := t.pages.finish(t.out, t.end, kind)
	t.out = out[:0]
	err := t.put(out)
	if err == nil {
		t.size += int64(len(out))
		t.saved, t.sequence, t.paged = t.end, t.pages.sequence, 0
		return nil
	}
	t.retry = now + diskRetry
	t.lost, t.paged = t.lost+t.paged, 0
	t.end, t.pages.sequence = t.saved, t.sequence
	if t.size == 0 {
		t.begun = false
		t.out = t.pages.headers(t.out, t.comments)
	}
	return err
}

func (t *track) put(b []byte) (err error) {
	if t.file == nil {
		if t.file, err = t.create(); err != nil {
			t.file = nil
			return err
		}
	}
	if _, err := t.file.WriteAt(b, t.size); err != nil {
		// Half a page; the next one goes to the same place.
		return errors.Join(err, t.file.Truncate(t.size))
	}
	return nil
}

// close ends the file.
func (t *track) close(now samples) error {
	if t.pages.empty() { // the last page must have a packet too
		last := silence[len(silence)-1]
		t.pages.add(last)
		t.end += opusLength(last)
	}
	err := t.save(now, oggLast)
	if t.file == nil {
		return err
	}
	return errors.Join(err, t.file.Sync(), t.file.Close())
}
