package keyless

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

const (
	// keyID names the key of every issuer.
	keyID = "keyless"
	// tokenLife is how long a token is good for: a whole run of a fixture maker.
	tokenLife = 2 * time.Hour
)

// Claims say whom a token speaks for. Exactly one of Email, Subject and GitHub
// is set; GitLab pipelines give Extra.
type Claims struct {
	// Issuer is the token's issuer. Empty is EmailIssuer for an Email, URIIssuer
	// for a Subject and GitHubIssuer for GitHub.
	Issuer string
	// Email is a person's verified address.
	Email string
	// Subject is the sub claim: a URI on the issuer's host for one of kind URIs.
	Subject string
	// GitHub is a run of GitHub Actions.
	GitHub *Workflow
	// Extra claims are added to the token, in place of those of the same name.
	Extra map[string]any
}

// Workflow is a run of GitHub Actions. The zero value of a field but Repository
// is something fit.
type Workflow struct {
	Repository  string // owner/name
	File        string // release.yml
	Ref         string // refs/heads/main
	Event       string // push
	Commit      string // 40 times a 1
	Runner      string // github-hosted
	Visibility  string // public
	Environment string // part of the subject, where it is set
	// Signer is the owner/name/.github/workflows/file@ref of a reusable workflow
	// that the job is in; empty is the workflow itself.
	Signer string
}

// claims are those of a GitHub Actions token, as GitHub's documentation of its
// OpenID Connect provider lists them.
func (w Workflow) claims() map[string]any {
	or := func(value, instead string) string {
		if value == "" {
			return instead
		}
		return value
	}
	ref, commit := or(w.Ref, "refs/heads/main"), or(w.Commit, strings.Repeat("1", 40))
	owner, _, _ := strings.Cut(w.Repository, "/")
	workflow := w.Repository + "/.github/workflows/" + or(w.File, "release.yml") + "@" + ref
	subject := "repo:" + w.Repository + ":ref:" + ref
	claims := map[string]any{
		"repository": w.Repository, "repository_owner": owner, "repository_id": "1001", "repository_owner_id": "101",
		"repository_visibility": or(w.Visibility, "public"), "ref": ref, "ref_type": "branch", "sha": commit,
		"event_name": or(w.Event, "push"), "workflow": "release", "workflow_ref": workflow, "workflow_sha": commit,
		"job_workflow_ref": or(w.Signer, workflow), "job_workflow_sha": commit,
		"runner_environment": or(w.Runner, "github-hosted"), "run_id": "42", "run_attempt": "1", "run_number": "7", "actor": "octo",
	}
	if w.Environment != "" {
		subject = "repo:" + w.Repository + ":environment:" + w.Environment
		claims["environment"] = w.Environment
	}
	claims["sub"] = subject
	return claims
}

// GitLab returns the extra claims of a GitLab pipeline of a project, owner/name,
// on its branch main. The issuer to give with them is GitLabIssuer.
func GitLab(project string) map[string]any {
	owner, _, _ := strings.Cut(project, "/")
	return map[string]any{
		"sub":          "project_path:" + project + ":ref_type:branch:ref:main",
		"project_path": project, "project_id": "2002", "namespace_path": owner, "namespace_id": "202", "project_visibility": "public",
		"pipeline_source": "push", "pipeline_id": "43", "job_id": "44", "ref": "main", "ref_type": "branch",
		"sha": strings.Repeat("2", 40), "runner_environment": "gitlab-hosted", "runner_id": 5,
		"ci_config_ref_uri": "gitlab.com/" + project + "//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": strings.Repeat("3", 40),
	}
}

// Token returns an identity token, which cosign takes with --identity-token. It
// is good for two hours.
func (s *Stack) Token(c Claims) (string, error) { return s.issuer.token(c) }

func (i *issuer) token(c Claims) (string, error) {
	claims, from, given := map[string]any{}, "", 0
	if c.Email != "" {
		from, given = EmailIssuer, given+1
		maps.Copy(claims, map[string]any{"sub": "id-of-" + c.Email, "email": c.Email, "email_verified": true})
	}
	if c.Subject != "" {
		from, given = URIIssuer, given+1
		claims["sub"] = c.Subject
	}
	if c.GitHub != nil {
		from, given = GitHubIssuer, given+1
		maps.Copy(claims, c.GitHub.claims())
	}
	if given > 1 || given == 0 && c.Extra["sub"] == nil {
		return "", errors.New("a token is for one of an email, a subject and a workflow, or has extra claims with a sub")
	}
	if c.Issuer != "" {
		from = c.Issuer
	}
	if from == "" {
		return "", errors.New("a token of extra claims needs an issuer")
	}
	now := time.Now()
	maps.Copy(claims, map[string]any{"iss": from, "aud": audience, "iat": now.Unix(), "nbf": now.Unix() - 60, "exp": now.Add(tokenLife).Unix()})
	maps.Copy(claims, c.Extra)
	return i.sign(claims)
}

// sign makes a JSON Web Token (RFC 7519), signed with RS256 (RFC 7518, 3.3).
func (i *issuer) sign(claims map[string]any) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("claims: %w", err)
	}
	text := b64(header) + "." + b64(body)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return text + "." + b64(signature), nil
}
