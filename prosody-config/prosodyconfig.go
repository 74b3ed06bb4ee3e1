// Package prosodyconfig holds what usher needs of Prosody: the fragment that a
// site adds to its configuration (usher.cfg.lua, explained in README.md), and
// the complete local configuration that tests and the demo run, which includes
// that very fragment.
//
// Starting a Prosody with it belongs to package stack.
package prosodyconfig

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
)

// LocalFile is the name of the local configuration's main file.
const LocalFile = "local.cfg.lua"

const siteFragment = "usher.cfg.lua"

//go:embed usher.cfg.lua local.cfg.lua testplugins/*.lua
var files embed.FS

// WriteLocal writes the local configuration into dir, which must exist:
// [LocalFile], the site's fragment in conf.d, and the stand-ins for Jitsi's
// plugins in testplugins. It expects the rest (data, certs) in dir as well,
// and the variables that it reads with ENV_ in Prosody's environment.
func WriteLocal(dir string) error {
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		target := filepath.Join(dir, name)
		if name == siteFragment {
			target = filepath.Join(dir, "conf.d", name)
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o600)
	})
}
