// Package stack starts a real Prosody with a whole local site as a child of this
// process, for tests and the demo.
//
// What the Prosody configuration says belongs to package prosodyconfig, what
// clients of the server do belongs to the caller.
package stack
