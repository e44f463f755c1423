// Verifies the tokens on stdin, one a line. Answers each with `ok` or the error.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

func seconds(name string) time.Duration {
	duration, err := time.ParseDuration(os.Getenv(name) + "s")
	if err != nil {
		log.Fatal(err)
	}
	return duration
}

func main() {
	ctx, issuer := context.Background(), os.Getenv("ISSUER")
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		log.Fatal(err)
	}
	verifier := provider.VerifierContext(ctx, &oidc.Config{ClientID: os.Getenv("AUDIENCE")})
	list := denylist{issuer: issuer, clientID: os.Getenv("CLIENT_ID"),
		clientSecret: os.Getenv("CLIENT_SECRET"), http: http.Client{Timeout: 10 * time.Second},
		stale: seconds("STALE_S")}
	go list.keepReading(seconds("POLL_S"))
	for tokens := bufio.NewScanner(os.Stdin); tokens.Scan(); {
		token, err := verifier.Verify(ctx, tokens.Text())
		if err == nil {
			err = list.check(token)
		}
		if err == nil {
			fmt.Println("ok")
		} else {
			fmt.Println(err)
		}
	}
}
