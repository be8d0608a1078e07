package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	// firstBuffer is what is allotted before any byte came: most manifests and signatures fit.
	firstBuffer = 16 << 10
	// largeBody is what a body may have, in bytes, to be read beside all others. Larger ones are said to be so by a
	// descriptor: bills of materials, and long scans.
	largeBody = verify.MaxSmallPaper
	// minRate is how fast a large body has to come, in bytes for each second: half of what a slow line carries. At it the
	// largest takes three minutes, longer than anybody waits; who sends less only holds what others wait for.
	minRate = 512 << 10
	// rateWindow is over what time that is looked at: a line may pause, as for packets that are lost.
	rateWindow = 2 * time.Second
)

// read reads a body whole, and hashes it. Its memory is reserved as it grows, to at most its announced length or the
// bound. What is announced isn't believed: memory is taken as bytes come, in one buffer that is doubled, until a quarter
// of a large body is there. giveUp ends the request.
func (c *Client) read(ctx context.Context, at *seat, resp *http.Response, q question, giveUp func()) (*answer, error) {
	most, err := q.most(resp.ContentLength)
	if err != nil {
		return nil, err
	}
	large := q.size > largeBody
	room := at.reserve(most, large)
	defer func() { room.free() }()
	pace := pacer{pace: c.pace, giveUp: giveUp}
	defer pace.stop()
	body, sum := make([]byte, 0, min(most, firstBuffer)), sha256.New()
	for {
		n, err := resp.Body.Read(body[len(body):cap(body)])
		sum.Write(body[len(body) : len(body)+n])
		body = body[:len(body)+n]
		pace.came(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, pace.explain(err)
		}
		if q.size >= 0 && int64(len(body)) > q.size {
			break
		}
		if int64(len(body)) == most {
			return nil, refuse(verify.Malformed, "the answer is longer than it said")
		}
		if len(body) < cap(body) {
			continue
		}
		larger := next(int64(cap(body)), most, large)
		if err := room.grow(ctx, larger); err != nil {
			return nil, err
		}
		body = append(make([]byte, 0, larger), body...)
		if large && room.held > 0 {
			pace.start(at.limits.now)
		}
	}
	if q.size >= 0 && int64(len(body)) != q.size {
		return nil, wrongSize(q.size)
	}
	at.waited += pace.took()
	return &answer{body: body, digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, release: room.keep()}, nil
}

// next is the size of the buffer that comes after one that is full: twice as large, and of a large body all of it once a
// quarter is there, so that the last two take no more together than largeCost.
func next(full, most int64, large bool) int64 {
	switch quarter := most/4 + 1; {
	case !large:
		return min(2*full, most)
	case full < quarter:
		return min(2*full, quarter)
	default:
		return most
	}
}

// most is how many bytes of a body are read at most, when the header says that it has so many: one more than it may have,
// which tells a body that is full from one that is too long.
func (q question) most(announced int64) (int64, error) {
	want := announced
	if q.size >= 0 {
		if want >= 0 && want != q.size {
			return 0, wrongSize(q.size)
		}
		want = q.size
	}
	if want < 0 {
		want = q.limit
	}
	return want + 1, nil
}

// pace is how fast a large body has to come.
type pace struct {
	least  int64 // bytes in each window
	window time.Duration
}

// pacer watches one body. Until it is started it lets all pass.
type pacer struct {
	pace
	giveUp func()

	now   func() time.Time
	began time.Time
	bytes atomic.Int64
	slow  atomic.Bool
	ended chan struct{}
}

// start begins to watch, once.
func (p *pacer) start(now func() time.Time) {
	if p.ended != nil {
		return
	}
	p.now, p.began, p.ended = now, now(), make(chan struct{})
	go func() {
		ticker := time.NewTicker(p.window)
		defer ticker.Stop()
		for before := p.bytes.Load(); ; {
			select {
			case <-p.ended:
				return
			case <-ticker.C:
			}
			now := p.bytes.Load()
			if now-before < p.least {
				p.slow.Store(true)
				p.giveUp()
				return
			}
			before = now
		}
	}()
}

func (p *pacer) came(n int) { p.bytes.Add(int64(n)) }

// stop ends the watching.
func (p *pacer) stop() {
	if p.ended != nil {
		close(p.ended)
	}
}

// took is for how long it was watched.
func (p *pacer) took() time.Duration {
	if p.ended == nil {
		return 0
	}
	return p.now().Sub(p.began)
}

// explain says why the body ended, if it was given up.
func (p *pacer) explain(err error) error {
	if !p.slow.Load() {
		return err
	}
	return refuse(verify.Unavailable, "it was given up: of a large paper less than %d KiB came in %s", p.least>>10, p.window)
}
