package app

import "runtime"

// version is set by `make build`; `go run` and `go install` leave it.
var version = "unreleased"

// Version returns usher's version and that of Go.
func Version() string { return version + " " + runtime.Version() }
