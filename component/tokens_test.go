package component

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tokensOf reads input to its end, or to the first error.
func tokensOf(next func() (xml.Token, error)) (list []string, err error) {
	for {
		tok, err := next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		list = append(list, fmt.Sprintf("%T %q", tok, tok))
	}
}

func ours(input string) ([]string, error) {
	return tokensOf(newTokens(newConn(inputConn{input: strings.NewReader(input)})).Token)
}

func theirs(input string) ([]string, error) {
	return tokensOf(xml.NewDecoder(strings.NewReader(input)).RawToken)
}

// What encoding/xml takes for a document of XMPP's kind is read as it reads it:
// a stanza that the server found well-formed never ends the stream.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{
		"<a/>", "<a ></a >", "<a:b c='1' d:e=\"2>'\"  f = '&lt;&#65;&#x42;\r\n'/>", "x\r\ny\rz&amp;&apos;&quot;&gt;<a>]]</a>",
		"<![CDATA[<&>]]]]><a/>", "<\u00e9 \u00fc='\u0640'>\U0001f389</\u00e9>", "<a b='1'c='2'/>", "<a b='", "<a>&#0;</a>", "<:a b:='1'/>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		want, err := theirs(input)
		for _, tok := range want {
			for _, kind := range []string{"xml.ProcInst", "xml.Comment", "xml.Directive"} {
				if err != nil || strings.HasPrefix(tok, kind) {
					return // nothing that XMPP allows
				}
			}
		}
		if err != nil {
			return
		}
		// Text that the stream ends in the middle of is nothing yet.
		input += "<"
		got, err := ours(input)
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%q:\n got %s (%v)\nwant %s", input, got, err, want)
		}
	})
}

func TestTokensOfCaptures(t *testing.T) {
	var files []string
	for _, folder := range []string{"../muc/testdata", "../muc/testdata/real", "../jibri/testdata/real", "testdata"} {
		some, err := filepath.Glob(folder + "/*.xml")
		if err != nil || len(some) == 0 {
			t.Fatalf("captures in %s: %v, %v", folder, some, err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			_, stanza, ok := strings.Cut(line, "<")
			if !ok || strings.HasPrefix(stanza, "!--") {
				continue
			}
			line = "<" + strings.TrimSpace(stanza)
			want, err := theirs(line)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ours(line + "<")
			if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s:\n got %s (%v)\nwant %s", file, got, err, want)
			}
		}
	}
}

func TestTokensRefuse(t *testing.T) {
	for _, input := range []string{
		"<?xml version='1.0'?>", "<!-- -->", "<!DOCTYPE a>", "<![CDATA>", "<>", "< a>", "</a b>", "<a/ >", "<1/>", "<a b/>", "<a b=c/>",
		"<a b='<'/>", "<a b:c:d='1'/>", "a]]>b<", "&nbsp;<", "&lt<", "&#x110000;<", "&#0;<", "\x00<", "\xff<", "\ufffe<", "<a b='\x01'/>", "<\xff/>",
	} {
		if got, err := ours(input); !errors.Is(err, errBadXML) {
			t.Errorf("%q = %s, %v, want an error", input, got, err)
		}
	}
}
