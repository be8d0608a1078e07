package compile

import (
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// expiry is when an exception ends, as it was written.
type expiry struct {
	until time.Time // the first moment that it doesn't cover
	day   bool      // it is a date, good through that day in UTC
}

// readExpiry reads a date, or a time of RFC 3339.
func readExpiry(text string) (expiry, error) {
	until, err := policy.ParseExpires(text)
	if err != nil {
		return expiry{}, err
	}
	_, notDay := time.Parse(time.DateOnly, text)
	return expiry{until: until, day: notDay == nil}, nil
}

// after tells whether it ends after some moment. A date doesn't, if the moment is within that day: whoever is given 90 days may write
// the date of the last.
func (x expiry) after(latest time.Time) bool {
	if x.day {
		return x.until.AddDate(0, 0, -1).After(latest)
	}
	return x.until.After(latest)
}
