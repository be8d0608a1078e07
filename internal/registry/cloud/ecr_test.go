package cloud

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	ecrName = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	ecrAsk  = "POST https://api.ecr.eu-west-1.amazonaws.com/"
	stsAsk  = "POST https://sts.eu-west-1.amazonaws.com/"
	imds    = "http://169.254.169.254/latest/"
	podAsk  = "GET http://169.254.170.23/v1/credentials"
)

func sha256Hex(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// role are the credentials that the fakes give.
func role() aws.Credentials {
	return aws.Credentials{AccessKeyID: "ASIA" + canary, SecretAccessKey: "secret-" + canary, SessionToken: "session/+= " + canary}
}

// ecrAnswer is GetAuthorizationToken's, good for twelve hours.
func ecrAnswer(end time.Time) string {
	token := base64.StdEncoding.EncodeToString([]byte("AWS:password-" + canary))
	return fmt.Sprintf(`{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d.0E0,"proxyEndpoint":"https://`+ecrName+`"}]}`, token, end.Unix())
}

func ecrGives() answer { return answer{"AWS", "password-" + canary, start.Add(12 * time.Hour)} }

// roleJSON is how instances and containers are told their role.
func roleJSON(end time.Time) string {
	return fmt.Sprintf(`{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2027-01-31T11:00:00Z","AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q}`,
		role().AccessKeyID, role().SecretAccessKey, role().SessionToken, end.Format(time.RFC3339))
}

// stsXML is AssumeRoleWithWebIdentity's answer.
func stsXML(end time.Time) string {
	return `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>` +
		`<SubjectFromWebIdentityToken>system:serviceaccount:pratique:webhook</SubjectFromWebIdentityToken><Audience>sts.amazonaws.com</Audience>` +
		`<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/p/pratique</Arn><AssumedRoleId>A:p</AssumedRoleId></AssumedRoleUser><Credentials>` +
		`<SessionToken>` + role().SessionToken + `</SessionToken><SecretAccessKey>` + role().SecretAccessKey + `</SecretAccessKey>` +
		`<Expiration>` + end.Format(time.RFC3339) + `</Expiration><AccessKeyId>` + role().AccessKeyID + `</AccessKeyId></Credentials>` +
		`<Provider>p</Provider></AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>`
}

// ecr lets ECR in a region answer whoever signs with the role.
func (w *world) ecr(name, region string) *world {
	return w.on(name, w.wants(all(signed(role(), "ecr", region),
		header("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
		header("Content-Type", "application/x-amz-json-1.1")), text(ecrAnswer(start.Add(12*time.Hour)))))
}

// irsa makes the Pod one with a role for its ServiceAccount.
func (w *world) irsa() *world {
	w.env["AWS_WEB_IDENTITY_TOKEN_FILE"] = w.file("jwt-" + canary + "\n")
	w.env["AWS_ROLE_ARN"] = "arn:aws:iam::123456789012:role/pratique"
	return w
}

// podIdentity makes the Pod one with an EKS Pod Identity.
func (w *world) podIdentity() *world {
	w.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.170.23/v1/credentials"
	w.env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = w.file("pod-" + canary)
	return w
}

// instance makes the node one with a role, asked by version 2 of instance metadata at this address.
func (w *world) instance(address string) *world {
	at := "http://" + address + "/latest/"
	token := "metadata-" + canary
	w.on("PUT "+at+"api/token", w.wants(header("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60"), text(token)))
	w.on("GET "+at+"meta-data/iam/security-credentials/", w.wants(header("X-Aws-Ec2-Metadata-Token", token), text("node-role")))
	return w.on("GET "+at+"meta-data/iam/security-credentials/node-role",
		w.wants(header("X-Aws-Ec2-Metadata-Token", token), text(roleJSON(start.Add(time.Hour)))))
}

func TestECRTakesTheFirstIdentityThatTheEnvironmentNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		host  string
		setUp func(*world)
		asks  []string
	}{
		{"keys in the environment", ecrName, func(w *world) {
			w.podIdentity().irsa().ecr(ecrAsk, "eu-west-1")
			w.env["AWS_ACCESS_KEY_ID"], w.env["AWS_SECRET_ACCESS_KEY"], w.env["AWS_SESSION_TOKEN"] = role().AccessKeyID, role().SecretAccessKey, role().SessionToken
		}, []string{ecrAsk}},
		{"a role for the ServiceAccount", ecrName, func(w *world) {
			w.podIdentity().irsa().ecr(ecrAsk, "eu-west-1").on(stsAsk, w.wants(fields("Action=AssumeRoleWithWebIdentity",
				"RoleArn=arn:aws:iam::123456789012:role/pratique", "RoleSessionName=pratique", "Version=2011-06-15", "WebIdentityToken=jwt-"+canary),
				text(stsXML(start.Add(time.Hour)))))
		}, []string{stsAsk, ecrAsk}},
		{"a role assumed where the Pod is, under the name that it was given", ecrName, func(w *world) {
			w.irsa().ecr(ecrAsk, "eu-west-1").on("POST https://sts.us-east-2.amazonaws.com/", w.wants(fields("Action=AssumeRoleWithWebIdentity",
				"RoleArn=arn:aws:iam::123456789012:role/pratique", "RoleSessionName=mine", "Version=2011-06-15", "WebIdentityToken=jwt-"+canary),
				text(stsXML(start.Add(time.Hour)))))
			w.env["AWS_REGION"], w.env["AWS_DEFAULT_REGION"], w.env["AWS_ROLE_SESSION_NAME"] = "us-east-2", "eu-north-1", "mine"
		}, []string{"POST https://sts.us-east-2.amazonaws.com/", ecrAsk}},
		{"EKS Pod Identity", ecrName, func(w *world) {
			w.podIdentity().ecr(ecrAsk, "eu-west-1").on(podAsk, w.wants(header("Authorization", "pod-"+canary), text(roleJSON(start.Add(time.Hour)))))
		}, []string{podAsk, ecrAsk}},
		{"a task of ECS", ecrName, func(w *world) {
			w.env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/x"
			w.ecr(ecrAsk, "eu-west-1").on("GET http://169.254.170.2/v2/credentials/x", w.wants(header("Authorization", ""), text(roleJSON(start.Add(time.Hour)))))
		}, []string{"GET http://169.254.170.2/v2/credentials/x", ecrAsk}},
		{"the instance's role", ecrName, func(w *world) { w.instance("169.254.169.254").ecr(ecrAsk, "eu-west-1") },
			[]string{"PUT " + imds + "api/token", "GET " + imds + "meta-data/iam/security-credentials/", "GET " + imds + "meta-data/iam/security-credentials/node-role", ecrAsk}},
		{"the instance's role where there is only IPv6", ecrName, func(w *world) {
			w.env["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"] = "IPv6"
			w.instance("[fd00:ec2::254]").ecr(ecrAsk, "eu-west-1")
		}, []string{"PUT http://[fd00:ec2::254]/latest/api/token", "GET http://[fd00:ec2::254]/latest/meta-data/iam/security-credentials/",
			"GET http://[fd00:ec2::254]/latest/meta-data/iam/security-credentials/node-role", ecrAsk}},
		{"China", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", func(w *world) {
			w.irsa().ecr("POST https://api.ecr.cn-north-1.amazonaws.com.cn/", "cn-north-1").
				on("POST https://sts.cn-north-1.amazonaws.com.cn/", text(stsXML(start.Add(time.Hour))))
		}, []string{"POST https://sts.cn-north-1.amazonaws.com.cn/", "POST https://api.ecr.cn-north-1.amazonaws.com.cn/"}},
		{"FIPS endpoints", "123456789012.dkr.ecr-fips.us-west-2.amazonaws.com", func(w *world) {
			w.irsa().ecr("POST https://ecr-fips.us-west-2.amazonaws.com/", "us-west-2").
				on("POST https://sts-fips.us-west-2.amazonaws.com/", text(stsXML(start.Add(time.Hour))))
		}, []string{"POST https://sts-fips.us-west-2.amazonaws.com/", "POST https://ecr-fips.us-west-2.amazonaws.com/"}},
		{"FIPS endpoints of GovCloud, where STS has no other", "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", func(w *world) {
			w.irsa().ecr("POST https://ecr-fips.us-gov-west-1.amazonaws.com/", "us-gov-west-1").
				on("POST https://sts.us-gov-west-1.amazonaws.com/", text(stsXML(start.Add(time.Hour))))
		}, []string{"POST https://sts.us-gov-west-1.amazonaws.com/", "POST https://ecr-fips.us-gov-west-1.amazonaws.com/"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.setUp(w)
			if diff := cmp.Diff(ecrGives(), must(t, NewECR(w.options()), test.host)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.asks, w.requests()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestECRSaysWhyThereIsNoLoginAndKeepsTheSecretsToItself(t *testing.T) {
	t.Parallel()
	json := `{"__type":"com.amazonaws.ecr#CODE","message":ECHO}`
	xml := `<ErrorResponse><Error><Type>Sender</Type><Code>CODE</Code><Message>ECHO</Message></Error></ErrorResponse>`
	coded := func(status int, body, code string) http.HandlerFunc {
		return echo(status, strings.ReplaceAll(body, "CODE", code))
	}
	for _, test := range []struct {
		name  string
		setUp func(*world)
		kind  verify.FetchKind
		words []string
	}{
		{"ECR says no", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, coded(400, json, "AccessDeniedException"))
		}, verify.Unauthorized, []string{"api.ecr.eu-west-1.amazonaws.com", "400 Bad Request, AccessDeniedException", "ecr:GetAuthorizationToken"}},
		{"ECR says no by a code that repeats what was sent", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, coded(403, json, canary))
		}, verify.Unauthorized, []string{"403 Forbidden: the role needs"}},
		{"ECR throttles", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, coded(400, json, "ThrottlingException"))
		}, verify.Unavailable, []string{"400 Bad Request, ThrottlingException"}},
		{"ECR fails", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, echo(500, "ECHO"))
		}, verify.Unavailable, []string{"500 Internal Server Error"}},
		{"ECR answers with a page", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, text("<html>"+canary))
		}, verify.Malformed, []string{"something else than the JSON object"}},
		{"ECR answers without a password", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, text(`{"authorizationData":[]}`))
		}, verify.Malformed, []string{"without the credentials"}},
		{"ECR answers with a password that is no pair", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, text(`{"authorizationData":[{"authorizationToken":"YWJj","expiresAt":1e10}]}`))
		}, verify.Malformed, []string{"without the credentials"}},
		{"ECR answers with an empty password", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, text(`{"authorizationData":[{"authorizationToken":"QVdTOg==","expiresAt":1e10}]}`))
		}, verify.Malformed, []string{"without a password"}},
		{"ECR answers with an end that is no time", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, text(`{"authorizationData":[{"authorizationToken":"QVdTOmE=","expiresAt":1e300}]}`))
		}, verify.Malformed, []string{"no time"}},
		{"ECR answers with what has expired", func(w *world) {
			w.instance("169.254.169.254").on(ecrAsk, text(ecrAnswer(start)))
		}, verify.Unavailable, []string{"expired at 2027-01-31T12:00:00Z", "clock"}},
		{"STS says no", func(w *world) { w.irsa().on(stsAsk, coded(403, xml, "AccessDenied")) },
			verify.Unauthorized, []string{"sts.eu-west-1.amazonaws.com", "403 Forbidden, AccessDenied", "trust policy"}},
		{"STS says no, and the node's role isn't taken instead", func(w *world) {
			w.instance("169.254.169.254").irsa().on(stsAsk, coded(400, xml, "InvalidIdentityToken"))
		}, verify.Unauthorized, []string{"400 Bad Request, InvalidIdentityToken"}},
		{"STS could not reach the cluster's issuer", func(w *world) { w.irsa().on(stsAsk, coded(400, xml, "IDPCommunicationError")) },
			verify.Unavailable, []string{"IDPCommunicationError"}},
		{"STS answers with JSON", func(w *world) { w.irsa().on(stsAsk, text(`{"a":"`+canary+`"}`)) },
			verify.Malformed, []string{"something else than the XML"}},
		{"STS answers without a session", func(w *world) {
			w.irsa().on(stsAsk, text(strings.ReplaceAll(stsXML(start.Add(time.Hour)), "SessionToken>", "Other>")))
		}, verify.Malformed, []string{"without the credentials"}},
		{"STS gives what has expired", func(w *world) { w.irsa().on(stsAsk, text(stsXML(start.Add(-time.Second)))) },
			verify.Unavailable, []string{"expired at 2027-01-31T11:59:59Z"}},
		{"half of a role for the ServiceAccount", func(w *world) { w.irsa().env["AWS_ROLE_ARN"] = "" },
			verify.Unavailable, []string{"AWS_ROLE_ARN", "eks.amazonaws.com/role-arn"}},
		{"half of a pair of keys", func(w *world) { w.env["AWS_SECRET_ACCESS_KEY"] = canary },
			verify.Unavailable, []string{"AWS_ACCESS_KEY_ID", "both or neither"}},
		{"a region that is none", func(w *world) { w.irsa().env["AWS_REGION"] = "evil.example/" },
			verify.Forbidden, []string{"AWS_REGION"}},
		{"no token where the environment says", func(w *world) { w.irsa().env["AWS_WEB_IDENTITY_TOKEN_FILE"] += "-gone" },
			verify.Unavailable, []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "no such file"}},
		{"a directory in the place of the token", func(w *world) { w.irsa().env["AWS_WEB_IDENTITY_TOKEN_FILE"] = w.t.TempDir() },
			verify.Unavailable, []string{"no regular file"}},
		{"an empty token", func(w *world) { w.irsa().env["AWS_WEB_IDENTITY_TOKEN_FILE"] = w.file(" \n") },
			verify.Unavailable, []string{"is empty"}},
		{"a token over the bound", func(w *world) {
			w.irsa().env["AWS_WEB_IDENTITY_TOKEN_FILE"] = w.file(strings.Repeat("a", maxTokenFile+1))
		}, verify.TooLarge, []string{"over the bound of 65536 bytes"}},
		{"the agent of EKS says no", func(w *world) {
			w.podIdentity().on(podAsk, echo(400, `{"code":"AccessDeniedException","message":ECHO}`))
		},
			verify.Unauthorized, []string{"169.254.170.23", "AccessDeniedException", "Pod Identity association"}},
		{"the agent of EKS gives what has expired", func(w *world) { w.podIdentity().on(podAsk, text(roleJSON(start.Add(-time.Second)))) },
			verify.Unavailable, []string{"expired at"}},
		{"metadata has no role", func(w *world) {
			w.instance("169.254.169.254").on("GET "+imds+"meta-data/iam/security-credentials/", echo(404, "ECHO"))
		}, verify.Unauthorized, []string{"404 Not Found", "the instance has no role"}},
		{"metadata answers with lines in the place of a role", func(w *world) {
			w.instance("169.254.169.254").on("GET "+imds+"meta-data/iam/security-credentials/", text("a b"))
		}, verify.Malformed, []string{"something else than the word"}},
		{"metadata has a role that failed", func(w *world) {
			w.instance("169.254.169.254").on("GET "+imds+"meta-data/iam/security-credentials/node-role", text(`{"Code":"Failed`+canary+`"}`))
		}, verify.Malformed, []string{"gave no credentials"}},
		{"version 2 of metadata is refused, and version 1 isn't taken instead", func(w *world) {
			w.instance("169.254.169.254").on("PUT "+imds+"api/token", echo(403, "ECHO")).
				on("GET "+imds+"meta-data/iam/security-credentials/", func(http.ResponseWriter, *http.Request) { w.t.Error("asked by version 1") })
		}, verify.Unauthorized, []string{"403 Forbidden"}},
		{"metadata is turned off", func(w *world) { w.env["AWS_EC2_METADATA_DISABLED"] = "true" },
			verify.Unavailable, []string{"AWS_EC2_METADATA_DISABLED", "Pod Identity or IRSA"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.setUp(w)
			a, err := ask(t, NewECR(w.options()), ecrName)
			if e := refused(t, a, err, ecrName, test.words...); e.Kind != test.kind {
				t.Errorf("the kind is %v, want %v", e.Kind, test.kind)
			}
			if asked := w.requests(); len(asked) > 0 && strings.HasPrefix(asked[0], "POST https://sts") && slices.Contains(asked, "PUT "+imds+"api/token") {
				t.Errorf("the node's role was asked for as well: %q", asked)
			}
		})
	}
}

func TestTheTokenOfAPodGoesToTheAgentsOfItsRoleOnly(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"http://evil.example/", "http://169.254.170.23.evil.example/", "http://169.254.170.23@evil.example/", "http://evil.example@169.254.170.23/",
		"https://169.254.170.23/", "http://169.254.169.254/", "http://10.0.0.1/", "http://0/", "http://localhost.evil.example/", "file:///etc/passwd", "//169.254.170.23/", "http://[::ffff:10.0.0.1]/", ":",
	} {
		t.Run(uri, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).podIdentity()
			w.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = uri
			a, err := ask(t, NewECR(w.options()), ecrName)
			if e := refused(t, a, err, ecrName, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "nothing was asked"); e.Kind != verify.Forbidden {
				t.Errorf("the kind is %v", e.Kind)
			}
		})
	}
	for _, path := range []string{".evil.example/", "@evil.example/", ":x/"} {
		t.Run("relative "+path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).podIdentity()
			w.env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = path
			a, err := ask(t, NewECR(w.options()), ecrName)
			refused(t, a, err, ecrName, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "nothing was asked")
		})
	}
}
