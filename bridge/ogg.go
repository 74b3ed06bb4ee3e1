package bridge

import (
	"encoding/binary"
	"slices"
)

const (
	// preSkip is what a decoder leaves out at the beginning: the time by which an
	// Opus encoder is late (RFC 7845 §4.2).
	preSkip samples = 312
	// maxLacing is the number of lacing values in a page (RFC 3533 §6).
	maxLacing = 255
)

// Header types of a page (RFC 3533 §6).
const (
	oggFirst = 0x02
	oggLast  = 0x04
)

// oggPages turns packets into the pages of an Ogg Opus file (RFC 7845, RFC
// 3533). A packet is never spread over pages. The zero value is the beginning of
// a file.
type oggPages struct {
	serial   uint32 // of the stream
	sequence uint32 // of the next page
	lacing   []byte // of the page under way
	body     []byte
}

// fits reports whether the page has room for a packet.
func (o *oggPages) fits(packet []byte) bool { return len(o.lacing)+len(packet)/255+1 <= maxLacing }

func (o *oggPages) add(packet []byte) {
	for range len(packet) / 255 {
		o.lacing = append(o.lacing, 255)
	}
	o.lacing = append(o.lacing, byte(len(packet)%255))
	o.body = append(o.body, packet...)
}

func (o *oggPages) empty() bool { return len(o.lacing) == 0 }

// drop forgets the page under way.
func (o *oggPages) drop() { o.lacing, o.body = o.lacing[:0], o.body[:0] }

// finish appends the page under way to b. The sound in the file is then until
// long, from its beginning.
func (o *oggPages) finish(b []byte, until samples, kind byte) []byte {
	return o.page(b, uint64(until+preSkip), kind)
}

func (o *oggPages) page(b []byte, granule uint64, kind byte) []byte {
	start := len(b)
	b = append(b, 'O', 'g', 'g', 'S', 0, kind)
	b = binary.LittleEndian.AppendUint64(b, granule)
	b = binary.LittleEndian.AppendUint32(b, o.serial)
	b = binary.LittleEndian.AppendUint32(b, o.sequence)
	b = append(b, 0, 0, 0, 0, byte(len(o.lacing)))
	b = append(b, o.lacing...)
	b = append(b, o.body...)
	binary.LittleEndian.PutUint32(b[start+22:], oggChecksum(b[start:]))
	o.sequence++
	o.drop()
	return b
}

// headers appends the two header pages to b, with comments NAME=value.
func (o *oggPages) headers(b []byte, comments []string) []byte {
	head := []byte("OpusHead\x01\x01") // version 1, one channel
	head = binary.LittleEndian.AppendUint16(head, uint16(preSkip))
	head = binary.LittleEndian.AppendUint32(head, 48000) // rate of the input
	head = append(head, 0, 0, 0)                         // gain, mapping family 0
	o.add(head)
	b = o.page(b, 0, oggFirst)

	tags := oggString([]byte("OpusTags"), "usher")
	tags = binary.LittleEndian.AppendUint32(tags, uint32(len(comments)))
	for _, comment := range comments {
		tags = oggString(tags, comment)
	}
	o.add(tags)
	return o.page(b, 0, 0)
}

func oggString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// oggTable is that of the CRC of RFC 3533 §6: polynomial 0x04c11db7, highest bit
// first, which hash/crc32 does not have.
var oggTable = func() (table [256]uint32) {
	for i := range table {
		crc := uint32(i) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

func oggChecksum(page []byte) (crc uint32) {
	for _, b := range page {
		crc = crc<<8 ^ oggTable[byte(crc>>24)^b]
	}
	return crc
}

// oggComments makes comments of names and values, those without a value left
// out, and values cut at a length that keeps the header in one page.
func oggComments(pairs ...string) (comments []string) {
	const maxValue = 4096 // bytes
	for pair := range slices.Chunk(pairs, 2) {
		if value := pair[1]; value != "" {
			comments = append(comments, pair[0]+"="+value[:min(len(value), maxValue)])
		}
	}
	return comments
}
