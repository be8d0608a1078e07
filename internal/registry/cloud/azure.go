package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// acrAudience is what a token of Microsoft Entra ID is asked for: container registries, and not the whole of Azure's
// management, which registries take as well. It is the same in all of Azure's clouds.
const acrAudience = "https://containerregistry.azure.net"

// azureAddress is where Azure tells who a machine is.
const azureAddress = "169.254.169.254"

// guid is how Azure names tenants and applications (RFC 9562).
var guid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// authority is where Microsoft Entra ID is for the cloud that a registry is in.
func (r acrRegistry) authority() string {
	switch r.cloud {
	case "cn":
		return "login.chinacloudapi.cn"
	case "us":
		return "login.microsoftonline.us"
	}
	return "login.microsoftonline.com"
}

// azureToken gets a token of Microsoft Entra ID for container registries. If the Pod has an identity of its own and
// can't have it, that is an error, and the node's isn't taken instead.
func (c *caller) azureToken(ctx context.Context, r acrRegistry) (string, error) {
	client := c.getenv("AZURE_CLIENT_ID")
	if client != "" && !guid.MatchString(client) {
		return "", fail(verify.Unavailable, "AZURE_CLIENT_ID is no GUID: it is the client id of an identity")
	}
	if file := c.getenv("AZURE_FEDERATED_TOKEN_FILE"); file != "" {
		return c.workloadToken(ctx, r, client, file)
	}
	return c.managedToken(ctx, client)
}

// workloadToken exchanges the Pod's token (OAuth 2.0 client credentials with a JWT as the assertion: RFC 6749, 4.4 and
// RFC 7523, 2.2).
func (c *caller) workloadToken(ctx context.Context, r acrRegistry, client, file string) (string, error) {
	tenant := c.getenv("AZURE_TENANT_ID")
	if client == "" || !guid.MatchString(tenant) {
		return "", fail(verify.Unavailable, "AZURE_CLIENT_ID or AZURE_TENANT_ID is no GUID beside AZURE_FEDERATED_TOKEN_FILE: "+
			"Azure Workload Identity sets all, by the annotation azure.workload.identity/client-id")
	}
	host, err := c.authorityHost(r)
	if err != nil {
		return "", err
	}
	assertion, err := readToken("AZURE_FEDERATED_TOKEN_FILE", file)
	if err != nil {
		return "", err
	}
	return c.entraToken(ctx, step{
		client: c.client, method: http.MethodPost, url: "https://" + host + "/" + tenant + "/oauth2/v2.0/token", header: form(),
		body: values("grant_type", "client_credentials", "client_id", client, "scope", acrAudience+"/.default",
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion),
		who: "Microsoft Entra ID (" + host + ")", silent: "it has to be reached",
		declined: "the identity needs a federated credential for the cluster's issuer and this ServiceAccount",
	})
}

// authorityHost is where the Pod's token is sent: where the environment says, if that is one of Microsoft's.
func (c *caller) authorityHost(r acrRegistry) (string, error) {
	named := c.getenv("AZURE_AUTHORITY_HOST")
	if named == "" {
		return r.authority(), nil
	}
	host, https := strings.CutPrefix(strings.TrimSuffix(named, "/"), "https://")
	host = oneOf(host, "login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn", "login.partner.microsoftonline.cn")
	if !https || host == "" {
		return "", fail(verify.Forbidden, "AZURE_AUTHORITY_HOST is none of Microsoft's, so nothing was asked: leave it empty, or set https://%s/", r.authority())
	}
	return host, nil
}

// managedToken asks instance metadata for a token of the node's managed identity.
func (c *caller) managedToken(ctx context.Context, client string) (string, error) {
	return c.entraToken(ctx, step{
		client: c.metadata, method: http.MethodGet,
		url: "http://" + azureAddress + "/metadata/identity/oauth2/token?" +
			values("api-version", "2018-02-01", "resource", acrAudience, "client_id", client),
		header:   map[string]string{"Metadata": "true"},
		who:      "Azure's instance metadata (" + azureAddress + ")",
		silent:   "give the ServiceAccount Azure Workload Identity, or let Pods reach this",
		declined: "give the node a managed identity (of several, AZURE_CLIENT_ID is the one) or the ServiceAccount Azure Workload Identity",
	})
}

// entraToken sends a request whose answer is a token of Microsoft Entra ID. When that ends doesn't matter: it is
// exchanged at once.
func (c *caller) entraToken(ctx context.Context, s step) (string, error) {
	var out struct {
		AccessToken string `json:"access_token"`
	}
	s.code = entraCode
	s.read = func(answer []byte) error {
		if err := object(answer, &out); err != nil {
			return err
		}
		if out.AccessToken == "" {
			return errNoSecret
		}
		return nil
	}
	if err := c.ask(ctx, s); err != nil {
		return "", err
	}
	return out.AccessToken, nil
}

// entraCode returns what an error of Microsoft Entra ID calls itself (RFC 6749, 5.2), with its own number, by which its
// documentation explains it.
func entraCode(body []byte) string {
	var out struct {
		Error string `json:"error"`
		Codes []int  `json:"error_codes"`
	}
	if json.Unmarshal(body, &out) != nil {
		return ""
	}
	code := oneOf(out.Error, "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
		"invalid_scope", "invalid_resource", "temporarily_unavailable", "interaction_required", "access_denied")
	if code != "" && code != "temporarily_unavailable" && len(out.Codes) > 0 && out.Codes[0] > 0 && out.Codes[0] < 1e8 {
		code += fmt.Sprintf(" (AADSTS%d)", out.Codes[0])
	}
	return code
}
