#!/bin/sh
# Counts the lines of Go code, without blanks and comments, of the packages of
# usher that `usher` is built from: one line per package, the sum last.
set -eu

cd "$(dirname "$0")/.."
files='{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}{{$p := .ImportPath}}{{range .GoFiles}}{{$p}} {{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}'
go list -deps -f "$files" ./cmd/usher | awk '
	NF == 2 {
		inside = 0 # a comment of several lines
		while ((getline line < $2) > 0) {
			sub(/^[ \t]+/, "", line)
			if (inside) { if (line ~ /\*\//) inside = 0; continue }
			if (line ~ /^\/\*/) { if (line !~ /\*\//) inside = 1; continue }
			if (line == "" || line ~ /^\/\//) continue
			lines[$1]++; sum++
		}
		close($2)
	}
	END { for (p in lines) printf "%6d %s\n", lines[p], p | "sort -n"; close("sort -n"); printf "%6d in all\n", sum }'
