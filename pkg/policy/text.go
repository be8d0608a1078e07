package policy

import (
	"strings"
)

// printable makes what a stranger wrote fit for a terminal: printable ASCII, the rest as ?, at most 128 bytes.
func printable(s string) string {
	const most = 128
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(clean) > most {
		return clean[:most] + "..."
	}
	return clean
}
