// Gets a token with x/oauth2, and verifies one with go-oidc. See ../README.md.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/url"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

var audience = os.Getenv("AUDIENCE")

// tokens returns a source that keeps a token and replaces it shortly before it expires. Pass it to
// oauth2.NewClient for an http.Client that adds the token to each request.
func tokens(ctx context.Context, provider *oidc.Provider) oauth2.TokenSource {
	config := clientcredentials.Config{
		ClientID:       os.Getenv("CLIENT_ID"),
		ClientSecret:   os.Getenv("CLIENT_SECRET"),
		TokenURL:       provider.Endpoint().TokenURL,
		Scopes:         []string{"read"},
		EndpointParams: url.Values{"resource": {audience}},
	}
	return config.TokenSource(ctx)
}

// verifier is needed once in the whole program: it caches the keys. go-oidc calls the audience the
// client id; the algorithms come from the metadata.
func verifier(ctx context.Context, provider *oidc.Provider) *oidc.IDTokenVerifier {
	return provider.VerifierContext(ctx, &oidc.Config{ClientID: audience})
}

func main() {
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	token := os.Getenv("TOKEN") // to verify an existing token
	if token == "" {
		got, err := tokens(ctx, provider).Token()
		if err != nil {
			log.Fatal(err)
		}
		token = got.AccessToken
	}
	verified, err := verifier(ctx, provider).Verify(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		log.Fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(claims)
}
