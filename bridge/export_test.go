package bridge

// OpusLength is opusLength.
func OpusLength(p []byte) int { return int(opusLength(p)) }
