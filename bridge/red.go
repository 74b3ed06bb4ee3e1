package bridge

// redPrimary is the newest block of a RED payload, the one that the packet's
// timestamp is of; the older ones repeat what earlier packets had (RFC 2198 §3).
// It is nil when the payload is not well formed.
func redPrimary(payload []byte) []byte {
	older := 0 // bytes of the blocks before
	for len(payload) > 0 {
		if payload[0]&0x80 == 0 { // the primary block's header: F = 0 and its type
			payload = payload[1:]
			if older > len(payload) {
				return nil
			}
			return payload[older:]
		}
		if len(payload) < 4 {
			return nil
		}
		older += int(payload[2]&3)<<8 | int(payload[3])
		payload = payload[4:]
	}
	return nil
}
