// Verifies the tokens on stdin, one a line, with go-oidc. Answers each with `ok` or the error, and
// the number of times that the keys have been fetched.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
)

type counter struct{ fetches int }

func (c *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	c.fetches++
	return http.DefaultTransport.RoundTrip(request)
}

func main() {
	issuer, counter := os.Getenv("ISSUER"), &counter{}
	ctx := oidc.ClientContext(context.Background(), &http.Client{Transport: counter})
	// Keeps the keys until it meets a kid that it does not know, and then fetches them once.
	keys := oidc.NewRemoteKeySet(ctx, issuer+"/.well-known/jwks.json")
	verifier := oidc.NewVerifier(issuer, keys, &oidc.Config{
		ClientID:             issuer,
		SupportedSigningAlgs: []string{oidc.ES256},
	})
	for tokens := bufio.NewScanner(os.Stdin); tokens.Scan(); {
		said := "ok"
		if _, err := verifier.Verify(ctx, tokens.Text()); err != nil {
			said = err.Error()
		}
		fmt.Println(said, counter.fetches)
	}
}
