package trust

import (
	"errors"
	"fmt"
	"time"
)

// Result is how one refresh ended: a closed set, for the label of a metric.
type Result string

// What a Result can be.
const (
	ResultUpdated     Result = "updated"     // the mirror offers another text than the one held, or the first
	ResultUnchanged   Result = "unchanged"   // the mirror vouches for the text that is held
	ResultUnreachable Result = "unreachable" // the mirror could not be asked, or its answer did not come whole
	ResultRefused     Result = "refused"     // the mirror answered, and the answer is not believed
)

// Results lists every Result.
func Results() []Result {
	return []Result{ResultUpdated, ResultUnchanged, ResultUnreachable, ResultRefused}
}

var (
	// ErrNotFollowed is why there is no State of a mirror that the Keeper was not asked to follow.
	ErrNotFollowed = errors.New("this mirror is not followed")
	// ErrNotFetched is why there is no trusted root of a mirror yet whose first refresh hasn't ended.
	ErrNotFetched = errors.New("the mirror was not asked yet")
	// ErrExpired is why a trusted root that was fetched is no longer served.
	ErrExpired = errors.New("the trusted root is no longer good")
	// ErrReplaced is why a trusted root that was fetched and hasn't expired is no longer served.
	ErrReplaced = errors.New("the mirror's keys were replaced, and nothing signed by the new ones was shown")
)

// The cures, by what failed.
const (
	cureUnreachable = "see that this machine may reach it: DNS, proxy, network policy, its certificate authority"
	cureRefused     = "have whoever keeps the mirror see to it"
	cureReplaced    = "the mirror is asked again within minutes; if this lasts, have whoever keeps it publish what the new keys signed"
)

// MirrorError is why a refresh failed.
type MirrorError struct {
	URL    string // of the mirror
	Result Result // ResultUnreachable or ResultRefused
	Err    error
}

// Error names the mirror, what happened and the cure.
func (e *MirrorError) Error() string {
	if e.Result == ResultUnreachable {
		return fmt.Sprintf("mirror %s could not be read: %v; %s", e.URL, e.Err, cureUnreachable)
	}
	return fmt.Sprintf("mirror %s is not believed: %v; %s", e.URL, e.Err, cureRefused)
}

// Unwrap returns what happened.
func (e *MirrorError) Unwrap() error { return e.Err }

// expired words why a text is no longer served: what of it expired, and why there is none newer.
func expired(url string, by expiry, last error) error {
	err := fmt.Errorf("%w: %s version %d of mirror %s expired at %s", ErrExpired, by.role+".json", by.version, url,
		by.at.UTC().Format(time.RFC3339))
	if last != nil {
		return fmt.Errorf("%w; nothing newer was had since: %w", err, last)
	}
	return fmt.Errorf("%w; the mirror is asked again soon", err)
}

// err words why a text is no longer served: which root says so, of whose keys, and why there is nothing by the new ones.
func (u *unvouched) err(url string, last error) error {
	return fmt.Errorf("%w: root.json version %d of mirror %s names other keys for %s than signed what was held; %s; the last try: %w",
		ErrReplaced, u.root, url, u.role+".json", cureReplaced, last)
}
