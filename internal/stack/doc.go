// Package stack starts a real Prosody and a real redis-server as children of
// this process, on free loopback ports and with all their data in one folder.
//
// Tests and the demo use both; `usher serve` uses [StartRedis] when no Redis
// is configured. What the Prosody configuration says belongs to package
// prosodyconfig, what clients of these servers do belongs to the caller.
package stack
