package cloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// acrUser says to Azure Container Registry that the password is a refresh token of its own.
const acrUser = "00000000-0000-0000-0000-000000000000"

// NewACR returns the Login for Azure Container Registry: NAME.azurecr.io, NAME.azurecr.cn and NAME.azurecr.us. The user is
// the zero GUID; the password is a refresh token of that one registry, good for three hours. The identity needs AcrPull,
// or in a registry with repository permissions Container Registry Repository Reader.
//
// The identity is the Pod's if AZURE_FEDERATED_TOKEN_FILE is set, as Azure Workload Identity does with AZURE_CLIENT_ID and
// AZURE_TENANT_ID; otherwise the node's managed identity, that of AZURE_CLIENT_ID if it has several.
func NewACR(o Options) Login {
	c := newCaller(o)
	l := newLogins(c.now)
	return func(ctx context.Context, host string) (string, string, time.Time, error) {
		r, err := parseACR(host)
		if err != nil {
			return "", "", time.Time{}, err
		}
		return l.login(ctx, host, host, func(ctx context.Context) (grant, error) {
			token, err := c.azureToken(ctx, r)
			if err != nil {
				return grant{}, err
			}
			return c.acrExchange(ctx, r, token)
		})
	}
}

// acrExchange gives a registry a token of Microsoft Entra ID, and gets a refresh token of the registry's own for it.
func (c *caller) acrExchange(ctx context.Context, r acrRegistry, token string) (grant, error) {
	var out struct {
		RefreshToken string `json:"refresh_token"`
	}
	var expires time.Time
	err := c.ask(ctx, step{
		client: c.client, method: http.MethodPost, url: "https://" + r.host + "/oauth2/exchange", header: form(),
		body:     values("grant_type", "access_token", "service", r.host, "tenant", c.getenv("AZURE_TENANT_ID"), "access_token", token),
		who:      "the registry's /oauth2/exchange",
		silent:   "it has to be reached",
		declined: "the identity needs AcrPull on the registry, or Container Registry Repository Reader",
		code:     acrCode,
		read: func(answer []byte) error {
			if err := object(answer, &out); err != nil {
				return err
			}
			var err error
			expires, err = tokenEnd(out.RefreshToken)
			return err
		},
	})
	if err != nil {
		return grant{}, err
	}
	return grant{username: acrUser, password: out.RefreshToken, expires: expires}, nil
}

// tokenEnd reads when a JSON Web Token ends (RFC 7519, 4.1.4: exp). Its signature is for the registry to check, which
// made it: here it only says when to ask again.
func tokenEnd(token string) (time.Time, error) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok {
		return time.Time{}, errNoSecret
	}
	var claims struct {
		Exp float64 `json:"exp"` // seconds since 1970
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
	if err != nil || json.Unmarshal(data, &claims) != nil || claims.Exp < 1 || claims.Exp > lastSecond {
		return time.Time{}, errNoTime
	}
	return time.Unix(int64(claims.Exp), 0), nil
}

// acrCode returns what an error of a registry calls itself (OCI distribution specification 1.1, "Error Codes").
func acrCode(body []byte) string {
	var out struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &out) != nil || len(out.Errors) == 0 {
		return ""
	}
	return oneOf(out.Errors[0].Code, "UNAUTHORIZED", "DENIED", "TOOMANYREQUESTS", "UNSUPPORTED", "NAME_UNKNOWN", "UNAVAILABLE", "UNKNOWN")
}
