package sigstoretest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"time"
)

// tokenLife is how long a token is valid; GitHub's are so for about five minutes.
const tokenLife = 5 * time.Minute

// issuer makes tokens and publishes the key to check them with.
type issuer struct {
	key    *rsa.PrivateKey
	bearer string

	mu     sync.Mutex
	claims Claims
	issued []string // the audiences of the tokens that were given out
}

func newIssuer() (*issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &issuer{key: key, bearer: "request-token-" + rand.Text(), claims: DefaultClaims()}, nil
}

// keyID names the one key.
const keyID = "sigstoretest-1"

// ServeHTTP answers what is asked of an issuer: discovery and keys.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		writeJSON(w, map[string]any{
			"issuer":                                Issuer,
			"jwks_uri":                              Issuer + "/.well-known/jwks",
			"subject_types_supported":               []string{"public", "pairwise"},
			"response_types_supported":              []string{"id_token"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
			"scopes_supported":                      []string{"openid"},
		})
	case "/.well-known/jwks":
		writeJSON(w, map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": keyID,
			"n": base64url(i.key.N.Bytes()),
			"e": base64url(big.NewInt(int64(i.key.E)).Bytes()),
		}}})
	default:
		http.NotFound(w, r)
	}
}

// serveToken answers as the runner's token endpoint does.
func (i *issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	if auth := r.Header.Get("Authorization"); auth != "bearer "+i.bearer && auth != "Bearer "+i.bearer {
		w.WriteHeader(http.StatusUnauthorized)
		writeJSON(w, map[string]string{"message": "Unauthorized"})
		return
	}
	audience := r.URL.Query().Get("audience")
	if audience == "" {
		audience = "https://github.com/octo-org"
	}
	token, err := i.token(audience)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]any{"count": len(token), "value": token})
}

// token makes a signed token with the claims of now.
func (i *issuer) token(audience string) (string, error) {
	i.mu.Lock()
	claims := i.claims
	i.issued = append(i.issued, audience)
	i.mu.Unlock()
	return signToken(i.key, claims, audience, time.Now())
}

func signToken(key *rsa.PrivateKey, claims Claims, audience string, now time.Time) (string, error) {
	body := struct {
		Claims
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		Issued   int64  `json:"iat"`
		Valid    int64  `json:"nbf"`
		Expires  int64  `json:"exp"`
	}{claims, audience, rand.Text(), now.Unix(), now.Add(-time.Minute).Unix(), now.Add(tokenLife).Unix()}
	payload, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	header := fmt.Sprintf(`{"alg":"RS256","kid":%q,"typ":"JWT"}`, keyID)
	text := base64url([]byte(header)) + "." + base64url(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + base64url(signature), nil
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client went away
}
