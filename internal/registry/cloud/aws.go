package cloud

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Where AWS tells who a container or an instance is. Each address is of the machine itself, and asked by http.
const (
	ecsAddress  = "169.254.170.2"
	eksAddress  = "169.254.170.23"
	eksAddress6 = "fd00:ec2::23"
	ec2Address  = "169.254.169.254"
	ec2Address6 = "[fd00:ec2::254]"
)

// What to do where AWS doesn't say who we are.
const (
	giveRole  = "give the ServiceAccount a role by EKS Pod Identity or IRSA"
	reachNode = giveRole + ", or let Pods reach this (version 2, hop limit 2)"
	trustRole = "the role's trust policy has to name the cluster's OIDC provider and this ServiceAccount"
	bindRole  = "an EKS Pod Identity association has to bind this ServiceAccount to a role"
)

// awsCredentials finds out as who to sign. The first identity that the environment names is the one: if it can't be had,
// that is an error, and the node's isn't taken instead.
func (c *caller) awsCredentials(ctx context.Context, r ecrRegistry) (creds aws.Credentials, err error) {
	switch {
	case c.getenv("AWS_ACCESS_KEY_ID") != "" || c.getenv("AWS_SECRET_ACCESS_KEY") != "":
		creds = aws.Credentials{
			AccessKeyID: c.getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: c.getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: c.getenv("AWS_SESSION_TOKEN"),
		}
		if !creds.HasKeys() {
			err = fail(verify.Unavailable, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set one without the other: set both or neither")
		}
	case c.getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" || c.getenv("AWS_ROLE_ARN") != "":
		creds, err = c.assumeRole(ctx, r)
	case c.getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "":
		creds, err = c.containerRole(ctx, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "http://"+ecsAddress+c.getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
	case c.getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		creds, err = c.containerRole(ctx, "AWS_CONTAINER_CREDENTIALS_FULL_URI", c.getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
	case strings.EqualFold(c.getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		err = fail(verify.Unavailable, "the environment names no identity, and AWS_EC2_METADATA_DISABLED forbids the node's: %s", giveRole)
	default:
		creds, err = c.instanceRole(ctx)
	}
	if now := c.now(); err == nil && creds.CanExpire && !now.Before(creds.Expires) {
		err = expired("what AWS gave to sign with", creds.Expires, now)
	}
	return creds, err
}

// assumeRole exchanges the Pod's token for a role's credentials (STS API, 2011-06-15: AssumeRoleWithWebIdentity, which
// isn't signed).
func (c *caller) assumeRole(ctx context.Context, r ecrRegistry) (aws.Credentials, error) {
	file, role := c.getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), c.getenv("AWS_ROLE_ARN")
	if file == "" || role == "" {
		return aws.Credentials{}, fail(verify.Unavailable,
			"AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are set one without the other: the annotation eks.amazonaws.com/role-arn sets both")
	}
	token, err := readToken("AWS_WEB_IDENTITY_TOKEN_FILE", file)
	if err != nil {
		return aws.Credentials{}, err
	}
	session := c.getenv("AWS_ROLE_SESSION_NAME")
	if session == "" {
		session = "pratique"
	}
	host, err := c.stsHost(r)
	if err != nil {
		return aws.Credentials{}, err
	}
	var creds aws.Credentials
	err = c.ask(ctx, step{
		client: c.client, method: http.MethodPost, url: "https://" + host + "/", header: form(),
		body: values("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15", "RoleArn", role, "RoleSessionName", session,
			"WebIdentityToken", token),
		who: "STS (" + host + ")", silent: "it has to be reached, or a VPC endpoint for it", declined: trustRole,
		code: awsCode,
		read: func(answer []byte) (err error) { creds, err = readSTS(answer); return err },
	})
	return creds, err
}

// stsHost is the host of STS in the region where the Pod is, or else in the registry's.
func (c *caller) stsHost(r ecrRegistry) (string, error) {
	in := c.getenv("AWS_REGION")
	if in == "" {
		in = c.getenv("AWS_DEFAULT_REGION")
	}
	if in == "" {
		in = r.region
	}
	if !region.MatchString(in) {
		return "", fail(verify.Forbidden, "AWS_REGION or AWS_DEFAULT_REGION is %q, which is no region", printable(in, maxShown))
	}
	if r.fips && strings.HasPrefix(in, "us-") && !strings.HasPrefix(in, "us-gov-") { // in GovCloud all are
		return "sts-fips." + in + "." + suffixOf(in), nil
	}
	return "sts." + in + "." + suffixOf(in), nil
}

// readSTS reads the answer to AssumeRoleWithWebIdentity.
func readSTS(answer []byte) (aws.Credentials, error) {
	var out struct {
		XMLName xml.Name `xml:"AssumeRoleWithWebIdentityResponse"`
		Result  struct {
			Credentials struct {
				AccessKeyID     string `xml:"AccessKeyId"`
				SecretAccessKey string
				SessionToken    string
				Expiration      time.Time
			}
		} `xml:"AssumeRoleWithWebIdentityResult"`
	}
	if xml.Unmarshal(answer, &out) != nil {
		return aws.Credentials{}, errors.New("something else than the XML that was asked for")
	}
	got := out.Result.Credentials
	return temporary(got.AccessKeyID, got.SecretAccessKey, got.SessionToken, got.Expiration)
}

// stsCode returns what an error of STS calls itself.
func stsCode(body []byte) string {
	var out struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Code    string   `xml:"Error>Code"`
	}
	if xml.Unmarshal(body, &out) != nil {
		return ""
	}
	return out.Code
}

// temporary makes credentials that have an end.
func temporary(id, secret, session string, expires time.Time) (aws.Credentials, error) {
	switch {
	case id == "" || secret == "" || session == "":
		return aws.Credentials{}, errNoSecret
	case expires.IsZero():
		return aws.Credentials{}, errNoTime
	}
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: session, CanExpire: true, Expires: expires}, nil
}

// roleAnswer is how containers and instances are told their role's credentials.
type roleAnswer struct {
	Code            string // of an instance: Success, or what failed
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      time.Time
}

func readRole(answer []byte) (aws.Credentials, error) {
	var out roleAnswer
	if err := object(answer, &out); err != nil {
		return aws.Credentials{}, err
	}
	if out.Code != "" && out.Code != "Success" {
		return aws.Credentials{}, errors.New("that the role of the instance gave no credentials")
	}
	return temporary(out.AccessKeyID, out.SecretAccessKey, out.Token, out.Expiration)
}

// containerRole asks the agent of EKS Pod Identity or of ECS, which knows the Pod by a token of its own.
func (c *caller) containerRole(ctx context.Context, variable, uri string) (aws.Credentials, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.User != nil || !agentAddress(u.Hostname()) {
		return aws.Credentials{}, fail(verify.Forbidden, "%s is no http URL of EKS's agent (%s), ECS's (%s) or loopback, so nothing was asked",
			variable, eksAddress, ecsAddress)
	}
	token := c.getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if file := c.getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		if token, err = readToken("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file); err != nil {
			return aws.Credentials{}, err
		}
	}
	header := map[string]string{"Accept": "application/json"}
	if token != "" {
		header["Authorization"] = token
	}
	var creds aws.Credentials
	err = c.ask(ctx, step{
		client: c.metadata, method: http.MethodGet, url: u.String(), header: header,
		who: "the agent of the Pod's role (" + u.Host + ")", silent: "it runs on the node, as the add-on eks-pod-identity-agent", declined: bindRole,
		code: awsCode,
		read: func(answer []byte) (err error) { creds, err = readRole(answer); return err },
	})
	return creds, err
}

// agentAddress tells whether a host is an address where a container is told its role.
func agentAddress(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	switch addr.String() {
	case ecsAddress, eksAddress, eksAddress6:
		return true
	}
	return addr.IsLoopback()
}

// instanceRole asks instance metadata, version 2 only: by a token that a request forwarded by somebody can't get.
func (c *caller) instanceRole(ctx context.Context) (aws.Credentials, error) {
	address := ec2Address
	if strings.EqualFold(c.getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"), "IPv6") {
		address = ec2Address6
	}
	ask := func(method, path string, header map[string]string, read func([]byte) error) error {
		return c.ask(ctx, step{
			client: c.metadata, method: method, url: "http://" + address + "/latest/" + path, header: header,
			who: "instance metadata (" + address + ")", silent: reachNode, declined: "the instance has no role, or this is turned off: " + giveRole,
			code: awsCode, read: read,
		})
	}
	var token, role string
	var creds aws.Credentials
	// The token is for the two requests that follow.
	err := ask(http.MethodPut, "api/token", map[string]string{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": "60"}, func(answer []byte) (err error) {
		token, err = word(answer)
		return err
	})
	if err != nil {
		return creds, err
	}
	withToken := map[string]string{"X-Aws-Ec2-Metadata-Token": token}
	err = ask(http.MethodGet, "meta-data/iam/security-credentials/", withToken, func(answer []byte) (err error) {
		first, _, _ := strings.Cut(strings.TrimSpace(string(answer)), "\n")
		role, err = word([]byte(first))
		return err
	})
	if err != nil {
		return creds, err
	}
	err = ask(http.MethodGet, "meta-data/iam/security-credentials/"+url.PathEscape(role), withToken, func(answer []byte) (err error) {
		creds, err = readRole(answer)
		return err
	})
	return creds, err
}

// word reads an answer that is one word of printable ASCII.
func word(answer []byte) (string, error) {
	s := strings.TrimSpace(string(answer))
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("something else than the word that was asked for")
	}
	return s, nil
}
