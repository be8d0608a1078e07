package verify

import "testing"

func TestTurnsAreSharedOutBySite(t *testing.T) {
	t.Parallel()
	for registry, want := range map[string]string{
		"registry.example.com": "example.com", "h17.evil.example:8443": "evil.example", "h18.evil.example": "evil.example", "localhost:5000": "localhost",
		"10.0.0.5:5000": "10.0.0.5", "[::1]:5000": "[::1]", "index.docker.io": "docker.io", "a.co.uk": "a.co.uk", "": "",
	} {
		if got := siteOf(registry); got != want {
			t.Errorf("%q is of %q, want %q", registry, got, want)
		}
	}
}
