package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// denylist is needed once in the whole program: `go list.keepReading(5 * time.Second)`. The client
// is one that may introspect.
type denylist struct {
	issuer, clientID, clientSecret, cursor string

	http    http.Client   // with a timeout, such as 10 seconds
	stale   time.Duration // such as a minute
	revoked sync.Map      // exp by jti
	readAt  atomic.Pointer[time.Time]
}

// check refuses a token that was verified otherwise, if it is revoked.
func (d *denylist) check(token *oidc.IDToken) error {
	var claims struct{ JTI string }
	if err := token.Claims(&claims); err != nil {
		return err
	}
	if at := d.readAt.Load(); at == nil || time.Since(*at) > d.stale { // fails closed
		return errors.New("it is not known which tokens are revoked")
	}
	if _, found := d.revoked.Load(claims.JTI); found || claims.JTI == "" {
		return errors.New("revoked")
	}
	return nil
}

func (d *denylist) keepReading(poll time.Duration) {
	for ; ; time.Sleep(poll) {
		began, more := time.Now(), true
		for more {
			var err error
			if more, err = d.read(); err != nil {
				log.Print("reading revoked tokens: ", err)
				break
			}
		}
		if !more {
			d.readAt.Store(&began)
		}
		d.revoked.Range(func(jti, exp any) bool {
			if end, _ := exp.(float64); end <= float64(time.Now().Unix()) {
				d.revoked.Delete(jti)
			}
			return true
		})
	}
}

// read takes one page, and says whether there are more.
func (d *denylist) read() (more bool, err error) {
	request, err := http.NewRequest("GET",
		d.issuer+"/revocations?since="+url.QueryEscape(d.cursor), nil)
	if err != nil {
		return true, err
	}
	request.SetBasicAuth(d.clientID, d.clientSecret)
	answer, err := d.http.Do(request)
	if err != nil {
		return true, err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusGone && d.cursor != "" { // begin again, keep what is here
		d.cursor = ""
		return true, nil
	}
	if answer.StatusCode != http.StatusOK {
		return true, fmt.Errorf("status %d", answer.StatusCode)
	}
	var page struct {
		Cursor  string
		Revoked [][2]any // jti, exp
		More    bool
	}
	if err := json.NewDecoder(answer.Body).Decode(&page); err != nil {
		return true, err
	}
	for _, entry := range page.Revoked {
		d.revoked.Store(entry[0], entry[1])
	}
	d.cursor = page.Cursor
	return page.More, nil
}
