package evilregistry_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestTheScriptReadsAsItHappens(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	all := evilregistry.Match{}
	once := reg.Once(all, evilregistry.Status(500, nil, ""))
	twice := reg.Times(2, all, evilregistry.Status(501, nil, ""))
	ever := reg.On(all, evilregistry.Status(502, nil, ""))
	c := client(t)
	var got []int
	for range 5 {
		got = append(got, ask(t, c, "GET", url).status)
	}
	ever.Remove()
	got = append(got, ask(t, c, "GET", url).status)
	if want := "[500 501 501 502 502 200]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if once.Hits() != 1 || twice.Hits() != 2 || ever.Hits() != 2 {
		t.Errorf("hits %d, %d, %d", once.Hits(), twice.Hits(), ever.Hits())
	}
	reg.On(all, evilregistry.Status(500, nil, ""))
	reg.ClearFaults()
	if got := ask(t, c, "GET", url).status; got != 200 {
		t.Errorf("after ClearFaults: %d", got)
	}
}

func TestAMatchIsNarrowedByEachField(t *testing.T) {
	t.Parallel()
	reg, url, _ := scene(t)
	reg.Push(t, "team/app:v2", evilregistry.RandomImage(2))
	c := client(t)
	for name, m := range map[string]evilregistry.Match{
		"kind":   {Kind: evilregistry.ManifestByTag},
		"method": {Method: "HEAD"},
		"path":   {Path: "/v2/team/**"},
		"repo":   {Repo: "team/*"},
		"ref":    {Ref: "v*"},
		"if":     {If: func(r *http.Request) bool { return r.Header.Get("X") == "y" }},
	} {
		rule := reg.On(m, evilregistry.Status(500, nil, ""))
		if got := ask(t, c, "GET", url).status; got != 200 {
			t.Errorf("%s: the other request got %d", name, got)
		}
		if got := ask(t, c, "HEAD", reg.URL()+"/v2/team/app/manifests/v2", "X", "y").status; got != 500 {
			t.Errorf("%s: the matching request got %d", name, got)
		}
		rule.Remove()
	}
}

func TestTheScriptCanChangeUnderLoad(t *testing.T) {
	t.Parallel()
	reg, url, honest := scene(t)
	c := client(t)
	stop := make(chan struct{})
	var faulted atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := ask(t, c, "GET", url)
				switch {
				case got.status == 500:
					faulted.Add(1)
				case got.status != 200 || got.body != honest.body:
					t.Errorf("%+v", got)
					return
				}
			}
		})
	}
	for range 50 {
		rule := reg.On(evilregistry.Match{}, evilregistry.Status(500, nil, ""))
		eventually(t, func() bool { return rule.Hits() > 0 })
		rule.Remove()
		reg.Requests()
		reg.SerialDepth()
		reg.Reset()
	}
	close(stop)
	clients.Wait()
	if faulted.Load() < 50 {
		t.Errorf("%d requests met the fault, want at least 50", faulted.Load())
	}
}
