package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// NewECR returns the Login for private registries of Amazon ECR: ACCOUNT.dkr.ecr.REGION.amazonaws.com, with .cn after it
// in China, and dkr.ecr-fips. The user is AWS; the password is good for twelve hours, as GetAuthorizationToken says. The
// role needs ecr:GetAuthorizationToken, and for the repositories ecr:BatchGetImage and ecr:GetDownloadUrlForLayer.
//
// The identity is the first that the environment names of AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN; AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN (IAM roles for ServiceAccounts);
// AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI (EKS Pod Identity, ECS); and otherwise the instance's role, unless
// AWS_EC2_METADATA_DISABLED is true. AWS_REGION says where the role is assumed, if that isn't the registry's region.
func NewECR(o Options) Login {
	c := newCaller(o)
	l := newLogins(c.now)
	return func(ctx context.Context, host string) (string, string, time.Time, error) {
		r, err := parseECR(host)
		if err != nil {
			return "", "", time.Time{}, err
		}
		// One password is for all registries of the region that the role may read.
		return l.login(ctx, host, r.endpoint(), func(ctx context.Context) (grant, error) {
			creds, err := c.awsCredentials(ctx, r)
			if err != nil {
				return grant{}, err
			}
			return c.ecrPassword(ctx, r, creds)
		})
	}
}

// endpoint is the host of ECR's own API.
func (r ecrRegistry) endpoint() string {
	if r.fips {
		return "ecr-fips." + r.region + "." + r.suffix
	}
	return "api.ecr." + r.region + "." + r.suffix
}

// ecrPassword asks for GetAuthorizationToken (ECR API, 2015-09-21; AWS JSON 1.1).
func (c *caller) ecrPassword(ctx context.Context, r ecrRegistry, creds aws.Credentials) (grant, error) {
	const body = "{}"
	sum := sha256.Sum256([]byte(body))
	var g grant
	err := c.ask(ctx, step{
		client: c.client, method: http.MethodPost, url: "https://" + r.endpoint() + "/", body: body,
		header: map[string]string{
			"Content-Type": "application/x-amz-json-1.1",
			"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
		},
		sign: func(ctx context.Context, req *http.Request) error {
			return v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "ecr", r.region, c.now())
		},
		who:      "ECR (" + r.endpoint() + ")",
		silent:   "it has to be reached, or a VPC endpoint for com.amazonaws." + r.region + ".ecr.api",
		declined: "the role needs ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer",
		code:     awsCode,
		read:     func(answer []byte) (err error) { g, err = readECR(answer); return err },
	})
	return g, err
}

// readECR reads the answer to GetAuthorizationToken.
func readECR(answer []byte) (grant, error) {
	var out struct {
		AuthorizationData []struct {
			AuthorizationToken string  `json:"authorizationToken"` // base64 of USER:PASSWORD
			ExpiresAt          float64 `json:"expiresAt"`          // seconds since 1970
		} `json:"authorizationData"`
	}
	if err := object(answer, &out); err != nil {
		return grant{}, err
	}
	if len(out.AuthorizationData) != 1 {
		return grant{}, errNoSecret
	}
	data := out.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(data.AuthorizationToken)
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return grant{}, errNoSecret
	}
	if data.ExpiresAt < 1 || data.ExpiresAt > lastSecond {
		return grant{}, errNoTime
	}
	return grant{username: user, password: password, expires: time.Unix(int64(data.ExpiresAt), 0)}, nil
}

// lastSecond is the last of the year 9999, since 1970: beyond it times can't be written.
const lastSecond = 253402300799

var errNoTime = errors.New("with an end of the credentials that is no time")

// awsCode returns what an error of AWS calls itself, in JSON or in XML.
func awsCode(body []byte) string {
	var out struct {
		Type string `json:"__type"`
		Code string `json:"code"`
	}
	code := ""
	if json.Unmarshal(body, &out) == nil {
		code = out.Type
		if code == "" {
			code = out.Code
		}
		if i := strings.LastIndexByte(code, '#'); i >= 0 { // com.amazonaws.ecr#ServerException
			code = code[i+1:]
		}
	} else {
		code = stsCode(body)
	}
	return oneOf(code,
		"AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException",
		"SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "ExpiredToken", "ExpiredTokenException",
		"RequestExpired", "OptInRequired", "RegionDisabledException", "InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError",
		"MalformedPolicyDocument", "PackedPolicyTooLarge", "ValidationError", "ValidationException", "InvalidParameterException",
		"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "ServerException", "InternalFailure",
		"ServiceUnavailable")
}
