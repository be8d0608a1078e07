package trust

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPauses(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		every    time.Duration
		failures int
		unserved bool
		luck     float64
		want     time.Duration
	}{
		"a success waits for the period":              {day, 0, false, 0, day},
		"replicas drift apart by up to a tenth":       {day, 0, false, 1, day - day/10},
		"one failure waits a minute":                  {day, 1, false, 0, time.Minute},
		"and up to a quarter more":                    {day, 1, false, 1, 75 * time.Second},
		"the third waits four minutes":                {day, 3, false, 0, 4 * time.Minute},
		"the pause ends at the period":                {day, 30, false, 0, day},
		"and drifts apart there too":                  {day, 30, false, 1, day - day/10},
		"no number of failures overflows":             {day, 1 << 40, false, 0, day},
		"a short period is never exceeded by retries": {time.Minute, 3, false, 0, time.Minute},
		"with nothing served it is a minute":          {day, 0, true, 0, time.Minute},
		"and so after one failure":                    {day, 1, true, 0, time.Minute},
		"and doubles":                                 {day, 5, true, 0, 16 * time.Minute},
		"but no further, whatever came before":        {day, 1 << 40, true, 0, 16 * time.Minute},
		"and no more than a quarter longer":           {day, 30, true, 1, 20 * time.Minute},
		"nor longer than a period that is short":      {2 * time.Minute, 30, true, 0, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := pause(c.every, c.failures, !c.unserved, c.luck); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// always answers the same.
type always struct{ body []byte }

func (a always) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: -1, Request: req, Header: http.Header{},
	}, nil
}

func TestRow74_OneRefreshReadsSoMuchAndNoMore(t *testing.T) {
	t.Parallel()
	base, err := url.Parse("https://a.test/tuf")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		f := newFetcher(t.Context(), newClient(always{bytes.Repeat([]byte(" "), maxBody)}), "test", base)
		for range maxRefreshBytes / maxBody {
			if _, err := f.DownloadFile("https://a.test/tuf/x.json", maxBody, 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.DownloadFile("https://a.test/tuf/x.json", maxBody, 0); err == nil || !strings.Contains(err.Error(), "more than 16777216 bytes") {
			t.Errorf("%v", err)
		}
	})
	t.Run("requests", func(t *testing.T) {
		t.Parallel()
		f := newFetcher(t.Context(), newClient(always{}), "test", base)
		for range maxRequests {
			if _, err := f.DownloadFile("https://a.test/tuf/x.json", 1, 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.DownloadFile("https://a.test/tuf/x.json", 1, 0); err == nil || !strings.Contains(err.Error(), "requests") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a length that signed metadata give is bounded too", func(t *testing.T) {
		t.Parallel()
		f := newFetcher(t.Context(), newClient(always{bytes.Repeat([]byte(" "), maxBody+1)}), "test", base)
		if _, err := f.DownloadFile("https://a.test/tuf/x.json", 1<<40, 0); err == nil || !strings.Contains(err.Error(), "2097152") {
			t.Errorf("%v", err)
		}
	})
	t.Run("nothing outside of the mirror", func(t *testing.T) {
		t.Parallel()
		f := newFetcher(t.Context(), newClient(always{}), "test", base)
		for _, u := range []string{"https://b.test/tuf/x", "http://a.test/tuf/x", "https://a.test/other", "https://a.test:444/tuf/x", "%"} {
			if _, err := f.DownloadFile(u, 1, 0); err == nil {
				t.Errorf("%s was asked for", u)
			}
		}
	})
}
