package policy

import (
	"strings"
)

// printable makes what a stranger wrote fit for a terminal: printable ASCII, the rest as ?, at most 128 bytes.
func printable(s string) string {
	const most = 128
	clean := ascii(s)
	if len(clean) > most {
		return clean[:most] + "..."
	}
	return clean
}

// printableName is printable for who signed. A workflow's name and its issuer's are long, and differ in the middle as well as at the
// end: up to 200 bytes are told, and of longer ones both ends.
func printableName(s string) string {
	const most, end = 200, 98
	clean := ascii(s)
	if len(clean) > most {
		return clean[:end] + "..." + clean[len(clean)-end:]
	}
	return clean
}

func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
