package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"usher/config"
	"usher/internal/app"
	"usher/token"
)

// maxTokenInput is how much of standard input is read for a token, in bytes;
// far more than any token has that works.
const maxTokenInput = 64 << 10

// tokenCommand is `usher token`.
type tokenCommand struct {
	Create  tokenCreateCommand  `cmd:"" help:"Print a token for one person and one room."`
	Inspect tokenInspectCommand `cmd:"" help:"Show what a token says and why Prosody would refuse it; exit 1 if it would."`
	Public  tokenPublicCommand  `cmd:"" name:"public-key" help:"Write what Prosody checks RS256 tokens with."`
}

// tokenCreateCommand is `usher token create`.
type tokenCreateCommand struct {
	config.Jitsi
	Room   string        `required:"" env:"-" help:"Name of the room, without its domain."`
	UserID string        `name:"user-id" env:"-" help:"The person's id in your app."`
	Name   string        `env:"-" help:"Name that others see."`
	Email  string        `env:"-" help:"Address that the picture is looked up by."`
	Host   bool          `env:"-" help:"A host: may record, and moderates where the site takes that from tokens."`
	TTL    time.Duration `name:"ttl" env:"-" placeholder:"24h" help:"How long the token opens the room; a connection that is cut after that cannot be resumed."`
	URL    bool          `name:"url" env:"-" help:"Print the address of the room with the token in it; needs --site-url."`
}

// Run prints the token.
func (c *tokenCreateCommand) Run() error { return c.create(os.Stdout, time.Now()) }

func (c *tokenCreateCommand) create(out io.Writer, now time.Time) error {
	issuer, err := app.NewIssuer(c.Jitsi)
	if err != nil {
		return err
	}
	text, _, err := issuer.Issue(now, token.Claims{
		Room: c.Room, User: token.User{ID: c.UserID, Name: c.Name, Email: c.Email}, Host: c.Host,
		Expires: token.Until(now, c.TTL, time.Time{}),
	})
	if err != nil {
		return err
	}
	if c.URL {
		if text, err = token.URL(c.SiteURL, c.Room, text); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// tokenPublicCommand is `usher token public-key`.
type tokenPublicCommand struct {
	config.Jitsi
	JWKS bool   `name:"jwks" env:"-" help:"Print a key set, for cache_keys_url, instead of a PEM file for asap_key_server."`
	Dir  string `env:"-" default:"." help:"Directory for the PEM file, which that server serves under the file's name."`
}

// Run writes the PEM file and prints its path, or prints the key set.
func (c *tokenPublicCommand) Run() error { return c.write(os.Stdout) }

func (c *tokenPublicCommand) write(out io.Writer) error {
	key, err := app.SigningKey(c.Jitsi)
	if err != nil {
		return err
	}
	name, file := key.PublicPEM()
	if name == "" {
		return errors.New("a shared secret has no public half: set --jwt-key-file instead of --jwt-secret")
	}
	if c.JWKS {
		_, err = fmt.Fprintf(out, "%s\n", key.JWKS())
		return err
	}
	path := filepath.Join(c.Dir, name)
	if err := os.WriteFile(path, file, 0o644); err != nil { //nolint:gosec // public, and read by a web server
		return err
	}
	_, err = fmt.Fprintln(out, path)
	return err
}

// tokenInspectCommand is `usher token inspect`.
type tokenInspectCommand struct {
	config.Jitsi
	Room  string `env:"-" help:"Room that the token should open; default any."`
	Token string `arg:"" optional:"" help:"The token; default standard input, which keeps it out of the shell's history."`
}

// Run shows the token.
func (c *tokenInspectCommand) Run() error { return c.inspect(os.Stdin, os.Stdout, time.Now()) }

func (c *tokenInspectCommand) inspect(in io.Reader, out io.Writer, now time.Time) error {
	want := token.Expect{Site: app.JitsiSite(c.Jitsi), Room: c.Room}
	if c.MakesTokens() {
		var err error
		if want.Key, err = app.SigningKey(c.Jitsi); err != nil {
			return err
		}
	}
	text := c.Token
	if text == "" {
		input, err := io.ReadAll(io.LimitReader(in, maxTokenInput))
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		text = string(input)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return errors.New("no token: give one as argument or on standard input")
	}

	var b strings.Builder
	seen := token.Inspect(now, text, want)
	showToken(&b, seen)
	if want.Key == nil {
		b.WriteString("signature  not checked: no --jwt-secret or --jwt-key-file\n")
	}
	stopped := 0
	for _, f := range seen.Findings {
		fmt.Fprintf(&b, "%-9s  %s\n", f.Weight, f.Text)
		if f.Weight != token.Note {
			stopped++
		}
	}
	if len(seen.Findings) == 0 {
		b.WriteString("good       nothing that Prosody or the web client would take exception to\n")
	}
	if _, err := io.WriteString(out, printable(b.String())); err != nil {
		return err
	}
	if stopped > 0 {
		return errors.New("the token does not do, for the reasons above")
	}
	return nil
}

// showToken writes header and payload, as far as they can be read.
func showToken(b *strings.Builder, seen *token.Inspection) {
	for _, part := range []struct {
		name string
		text []byte
	}{{"header", seen.Header}, {"payload", seen.Payload}} {
		var indented bytes.Buffer
		if json.Indent(&indented, part.text, "", "  ") == nil {
			fmt.Fprintf(b, "%-9s  %s\n", part.name, indented.Bytes())
		}
	}
	if expires, ok := seen.Claims["exp"].(float64); ok {
		fmt.Fprintf(b, "expires    %s\n", time.Unix(int64(expires), 0).UTC().Format(time.RFC3339))
	}
}

// printable keeps a token's control characters from a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
