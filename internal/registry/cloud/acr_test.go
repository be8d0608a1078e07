package cloud

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	acrName  = "acmeregistry.azurecr.io"
	acrAsk   = "POST https://acmeregistry.azurecr.io/oauth2/exchange"
	azureAsk = "GET http://169.254.169.254/metadata/identity/oauth2/token"
	clientID = "11111111-2222-3333-4444-555555555555"
	tenantID = "99999999-8888-7777-6666-555555555555"
	entraAsk = "POST https://login.microsoftonline.com/" + tenantID + "/oauth2/v2.0/token"
	aadToken = "aad-" + canary
	aadJSON  = `{"token_type":"Bearer","expires_in":86399,"access_token":"` + aadToken + `"}`
)

// workload makes the Pod one with Azure Workload Identity.
func (w *world) workload() *world {
	w.env["AZURE_CLIENT_ID"], w.env["AZURE_TENANT_ID"] = clientID, tenantID
	w.env["AZURE_AUTHORITY_HOST"] = "https://login.microsoftonline.com/"
	w.env["AZURE_FEDERATED_TOKEN_FILE"] = w.file("jwt-" + canary + "\n")
	return w
}

// assertion is what is sent for the Pod's token.
func assertion() []string {
	return []string{"client_assertion=jwt-" + canary, "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
		"client_id=" + clientID, "grant_type=client_credentials", "scope=https://containerregistry.azure.net/.default"}
}

// acr lets a registry exchange the token.
func (w *world) acr(host, tenant string) *world {
	want := []string{"access_token=" + aadToken, "grant_type=access_token", "service=" + host}
	if tenant != "" {
		want = append(want, "tenant="+tenant)
	}
	return w.on("POST https://"+host+"/oauth2/exchange", w.wants(fields(want...), text(`{"refresh_token":"`+jwt(start.Add(3*time.Hour))+`"}`)))
}

func TestACRExchangesTheTokenOfThePodOrElseOfTheNode(t *testing.T) {
	t.Parallel()
	imdsFields := []string{"api-version=2018-02-01", "resource=https://containerregistry.azure.net"}
	for _, test := range []struct {
		name  string
		host  string
		setUp func(*world)
		asks  []string
	}{
		{"Azure Workload Identity", acrName, func(w *world) {
			w.workload().acr(acrName, tenantID).on(entraAsk, w.wants(fields(assertion()...), text(aadJSON)))
		}, []string{entraAsk, acrAsk}},
		{"Azure Workload Identity, the authority as the registry's cloud has it", "acmeregistry.azurecr.us", func(w *world) {
			w.workload().acr("acmeregistry.azurecr.us", tenantID).
				on("POST https://login.microsoftonline.us/"+tenantID+"/oauth2/v2.0/token", w.wants(fields(assertion()...), text(aadJSON)))
			w.env["AZURE_AUTHORITY_HOST"] = ""
		}, []string{"POST https://login.microsoftonline.us/" + tenantID + "/oauth2/v2.0/token", "POST https://acmeregistry.azurecr.us/oauth2/exchange"}},
		{"the node's one managed identity", acrName, func(w *world) {
			w.acr(acrName, "").on(azureAsk, w.wants(all(header("Metadata", "true"), fields(imdsFields...)), text(aadJSON)))
		}, []string{azureAsk, acrAsk}},
		{"one of the node's managed identities, in China", "acmeregistry.azurecr.cn", func(w *world) {
			w.env["AZURE_CLIENT_ID"] = clientID
			w.acr("acmeregistry.azurecr.cn", "").on(azureAsk, w.wants(fields(imdsFields[0], "client_id="+clientID, imdsFields[1]), text(aadJSON)))
		}, []string{azureAsk, "POST https://acmeregistry.azurecr.cn/oauth2/exchange"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.setUp(w)
			want := answer{"00000000-0000-0000-0000-000000000000", jwt(start.Add(3 * time.Hour)), start.Add(3 * time.Hour)}
			if diff := cmp.Diff(want, must(t, NewACR(w.options()), test.host)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.asks, w.requests()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestACRSaysWhyThereIsNoLoginAndKeepsTheSecretsToItself(t *testing.T) {
	t.Parallel()
	noEnd := base64.RawURLEncoding.EncodeToString([]byte(`{"jti":"` + canary + `"}`))
	for _, test := range []struct {
		name  string
		setUp func(*world)
		kind  verify.FetchKind
		words []string
	}{
		{"Entra ID doesn't know the Pod", func(w *world) {
			w.workload().on(entraAsk, echo(401, `{"error":"invalid_client","error_description":ECHO,"error_codes":[700213]}`))
		}, verify.Unauthorized, []string{"login.microsoftonline.com", "401 Unauthorized, invalid_client (AADSTS700213)", "federated credential"}},
		{"Entra ID doesn't know the Pod, and the node's identity isn't taken instead", func(w *world) {
			w.workload().on(azureAsk, text(aadJSON)).on(azureAsk, func(http.ResponseWriter, *http.Request) { w.t.Error("the node's identity was asked for") }).
				on(entraAsk, echo(400, `{"error":"invalid_grant","error_description":ECHO}`))
		}, verify.Unauthorized, []string{"400 Bad Request, invalid_grant"}},
		{"Entra ID says no by a code that repeats what was sent", func(w *world) { w.workload().on(entraAsk, echo(400, `{"error":ECHO,"error_codes":[1]}`)) },
			verify.Unauthorized, []string{"400 Bad Request: the identity needs"}},
		{"Entra ID is busy", func(w *world) { w.workload().on(entraAsk, echo(400, `{"error":"temporarily_unavailable"}`)) },
			verify.Unavailable, []string{"temporarily_unavailable"}},
		{"Entra ID answers without a token", func(w *world) { w.workload().on(entraAsk, text(`{}`)) },
			verify.Malformed, []string{"without the credentials"}},
		{"an authority that isn't Microsoft's", func(w *world) {
			w.workload().env["AZURE_AUTHORITY_HOST"] = "https://login.microsoftonline.com.evil.example/"
		}, verify.Forbidden, []string{"AZURE_AUTHORITY_HOST", "nothing was asked"}},
		{"an authority by http", func(w *world) { w.workload().env["AZURE_AUTHORITY_HOST"] = "http://login.microsoftonline.com/" },
			verify.Forbidden, []string{"AZURE_AUTHORITY_HOST"}},
		{"an authority that is no URL", func(w *world) { w.workload().env["AZURE_AUTHORITY_HOST"] = "login.microsoftonline.com" },
			verify.Forbidden, []string{"AZURE_AUTHORITY_HOST"}},
		{"a tenant that is a path", func(w *world) { w.workload().env["AZURE_TENANT_ID"] = "../" + tenantID },
			verify.Unavailable, []string{"AZURE_TENANT_ID", "azure.workload.identity/client-id"}},
		{"no client", func(w *world) { w.workload().env["AZURE_CLIENT_ID"] = "" },
			verify.Unavailable, []string{"AZURE_CLIENT_ID"}},
		{"a client that is no GUID", func(w *world) { w.env["AZURE_CLIENT_ID"] = "msi" },
			verify.Unavailable, []string{"AZURE_CLIENT_ID is no GUID"}},
		{"no token where the environment says", func(w *world) { w.workload().env["AZURE_FEDERATED_TOKEN_FILE"] += "-gone" },
			verify.Unavailable, []string{"AZURE_FEDERATED_TOKEN_FILE", "no such file"}},
		{"the node has no identity", func(w *world) {
			w.on(azureAsk, echo(400, `{"error":"invalid_request","error_description":ECHO}`))
		}, verify.Unauthorized, []string{"400 Bad Request, invalid_request", "managed identity", "AZURE_CLIENT_ID"}},
		{"the registry says no", func(w *world) {
			w.on(azureAsk, text(aadJSON)).on(acrAsk, echo(401, `{"errors":[{"code":"UNAUTHORIZED","message":ECHO}]}`))
		}, verify.Unauthorized, []string{"401 Unauthorized, UNAUTHORIZED", "AcrPull"}},
		{"the registry says no by a code that repeats what was sent", func(w *world) {
			w.on(azureAsk, text(aadJSON)).on(acrAsk, echo(403, `{"errors":[{"code":ECHO}]}`))
		}, verify.Unauthorized, []string{"403 Forbidden: the identity needs"}},
		{"the registry answers with what is no token", func(w *world) {
			w.on(azureAsk, text(aadJSON)).on(acrAsk, text(`{"refresh_token":"`+canary+`"}`))
		}, verify.Malformed, []string{"without the credentials"}},
		{"the registry answers with a token without an end", func(w *world) {
			w.on(azureAsk, text(aadJSON)).on(acrAsk, text(`{"refresh_token":"a.`+noEnd+`.b"}`))
		}, verify.Malformed, []string{"no time"}},
		{"the registry answers with what has expired", func(w *world) {
			w.on(azureAsk, text(aadJSON)).on(acrAsk, text(`{"refresh_token":"`+jwt(start)+`"}`))
		}, verify.Unavailable, []string{"expired at 2027-01-31T12:00:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.setUp(w)
			a, err := ask(t, NewACR(w.options()), acrName)
			if e := refused(t, a, err, acrName, test.words...); e.Kind != test.kind {
				t.Errorf("the kind is %v, want %v", e.Kind, test.kind)
			}
		})
	}
}

func TestEachRegistryOfAzureGetsARefreshTokenOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t).on(azureAsk, text(aadJSON)).acr(acrName, "").acr("otherregistry.azurecr.io", "")
	l := NewACR(w.options())
	for _, host := range []string{acrName, "otherregistry.azurecr.io", acrName} {
		must(t, l, host)
	}
	if got := strings.Count(strings.Join(w.requests(), "\n"), "/oauth2/exchange"); got != 2 {
		t.Errorf("%d exchanges, want 2: %q", got, w.requests())
	}
}
