package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/types"
)

// share is what one request holds of what may be in flight.
type share struct {
	load, large         *semaphore.Weighted
	held, heldWithLarge int64
}

// grow holds n bytes in all, at least minWeight, or says that there is no room for them. More than smallReview has to have
// room among the large ones too.
func (s *share) grow(n int64) error {
	more := max(n, minWeight) - s.held
	if more <= 0 {
		return nil
	}
	if !s.load.TryAcquire(more) {
		return errOverloaded
	}
	s.held += more
	if s.held > smallReview {
		if more = s.held - s.heldWithLarge; !s.large.TryAcquire(more) {
			return errOverloaded
		}
		s.heldWithLarge += more
	}
	return nil
}

func (s *share) release() {
	s.load.Release(s.held)
	if s.heldWithLarge > 0 {
		s.large.Release(s.heldWithLarge)
	}
	s.held, s.heldWithLarge = 0, 0
}

// headSize is how much of a review is read to refuse it under its UID, in bytes. The API server writes it within the first
// hundred.
const headSize = 4 << 10

// readBody reads the request's body until the given time. On an error it returns what it has read so far, in which the
// UID may be found. Memory, and what is held, grow with what has arrived, not with what a Content-Length promises; but not
// beyond that either, where doubling would nearly double it.
func readBody(w http.ResponseWriter, r *http.Request, held *share, until time.Time) ([]byte, error) {
	// One byte a second must not outlive the deadline, nor what is left of a body that is refused. It is the deadline of
	// this request, not of its connection. A recorder in a test has no connection, and needs none.
	if err := http.NewResponseController(w).SetReadDeadline(until); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, fmt.Errorf("%w: setting its deadline: %w", errUnreadable, err)
	}
	if err := held.grow(minWeight); err != nil {
		head := make([]byte, headSize)
		n, _ := io.ReadFull(r.Body, head) // however much it is, the request is refused
		return head[:n], err
	}
	limit := int64(MaxBody)
	if 0 <= r.ContentLength && r.ContentLength < limit {
		limit = r.ContentLength
	}
	room := max(headSize, min(limit, minWeight))
	body := make([]byte, 0, room+1) // one more, to see the end, or that there is none
	for {
		if len(body) == cap(body) {
			if room >= limit {
				limit = MaxBody // more has come than was promised, which a server's body never does
			}
			room = min(2*room, limit)
			if err := held.grow(room); err != nil {
				return body, err
			}
			body = append(make([]byte, 0, room+1), body...)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > MaxBody:
			return body, errTooLarge
		case errors.Is(err, io.EOF):
			return body, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return body, errOvertime
		case err != nil:
			return body, fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
}

// withBody gives the request a body that has been read already. The request is the caller's own copy.
func withBody(r *http.Request, body []byte) *http.Request {
	r.ContentLength = int64(len(body))
	r.Body = http.NoBody
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r
}

// maxUID is the longest UID that is sent back, in bytes. The API server's are UUIDs of 36.
const maxUID = 128

// uidIn finds request.uid in an AdmissionReview, or in as much of one as there is: the API server writes it before the
// objects. It is empty where it isn't found. Only what comes before it is decoded.
func uidIn(review []byte) types.UID {
	d := json.NewDecoder(bytes.NewReader(review))
	if !enter(d, "request") {
		return ""
	}
	if !seek(d, "uid") {
		return ""
	}
	var uid string
	if err := d.Decode(&uid); err != nil || len(uid) > maxUID {
		return ""
	}
	return types.UID(uid)
}

// enter opens the object that d is at, and stops before the value of the given key, which must be an object too.
func enter(d *json.Decoder, key string) bool {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	if !seek(d, key) {
		return false
	}
	t, err := d.Token()
	return err == nil && t == json.Delim('{')
}

// seek stops before the value of the given key of the object that d is in.
func seek(d *json.Decoder, key string) bool {
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return false
		}
		if name == key {
			return true
		}
		var other json.RawMessage
		if err := d.Decode(&other); err != nil {
			return false
		}
	}
	return false
}
