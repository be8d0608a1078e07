package docs_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// said are the numbers of the pages that no exported constant has: what the page says, and the line of the source that says it.
func said() []struct{ page, says, file, source string } {
	const operations, policies, roots = "docs/operations.md", "docs/policy.md", "docs/trust-roots.md"
	const requirements, exceptions = "docs/requirements.md", "docs/exceptions.md"
	return []struct{ page, says, file, source string }{
		{operations, "| what a tag names | 2 s |", "internal/registry/resolve.go", "tagAge = 2 * time.Second"},
		{operations, "| a Pod's pull secret | 60 s |", "pkg/admission/pullsecrets.go", "secretHold = 60 * time.Second"},
		{operations, "at most 32 a Pod", "pkg/admission/pullsecrets.go", "maxPullSecrets = 32"},
		{operations, "read again every 30 s; every 3 s while", "internal/compile/store.go", "rereadAfter = 30 * time.Second"},
		{operations, "every 3 s while a policy can't be used", "internal/compile/store.go", "retryAfter = 3 * time.Second"},
		{operations, "read again every minute", "cmd/webhook/services.go", "readRanges = time.Minute"},
		{operations, "good for ten years", "internal/server/certificate.go", "authorityLife = 10 * 365 * 24 * time.Hour"},
		{operations, "certificate for 90 days, and is renewed when 30", "internal/server/certificate.go", "leafLife = 90 * 24 * time.Hour"},
		{operations, "is renewed when 30 of them are left", "internal/server/incluster.go", "clusterLookahead = leafLife / 3"},
		{operations, "replica takes up the new one within some 10 seconds", "internal/server/incluster.go", "readSecret  = 10 * time.Second"},
		{operations, "it looks every hour", "internal/server/certdir.go", "checkCertificate = time.Hour"},
		{operations, "for at most 32 seconds", "internal/server/drain.go", "ShutdownTimeout = MaxTimeout + 2*time.Second"},
		{operations, "the chart gives it 45", "deploy/helm/pratique/templates/deployment.yaml", "terminationGracePeriodSeconds: 45"},
		{operations, "keeps a tenth of that back, half a second at least", "internal/server/deadline.go", "minMargin   = 500 * time.Millisecond"},
		{operations, "5, https only", "internal/registry/redirect.go", "maxRedirects = 5"},
		{operations, "tried at most three times", "internal/registry/retry.go", "maxRetries = 2"},
		{operations, "at most 64 requests to one registry", "internal/registry/limits.go", "maxHostRequests = 64"},
		{operations, "and 512 to all are in flight", "internal/registry/limits.go", "maxRequests = 512"},
		{operations, "256 MiB of all their bodies", "internal/registry/limits.go", "maxBytes = 256 << 20"},
		{operations, "a sixteenth of which one registry may hold", "internal/registry/limits.go", "maxHostBytes = maxBytes / 16"},
		{operations, "a body of up to 64 KiB", "internal/registry/limits.go", "smallBody = 64 << 10"},
		{operations, "for one image is at most 4 MiB", "internal/registry/list.go", "maxListing = MaxManifest"},
		{operations, "Each is at most 8 KiB", "pkg/admission/record.go", "maxAnnotation = 8 << 10"},
		{operations, "| the list of registries | read again every 10 s |", "internal/registry/registries.go", "RegistriesEvery = 10 * time.Second"},
		{operations, "At most 256 entries", "internal/registry/registries_read.go", "maxRegistryEntries = 256"},
		{operations, "as the registry's token service; at most 8", "internal/registry/registries_read.go", "maxTokenHosts = 8"},
		{operations, "and no others; at most 10, 64 KiB", "internal/registry/bundle.go", "maxBundleCertificates = 10"},
		{operations, "at most 10, 64 KiB", "internal/registry/bundle.go", "maxBundle = 64 << 10"},
		{operations, "or takes more than 3 seconds", "internal/registry/client.go", "{&t.Mirror, 3 * time.Second}"},
		{operations, "until 5 min before its end", "internal/registry/grant.go", "tokenMargin = 5 * time.Minute"},
		{operations, "Secrets of `registries` | 60 s |", "internal/registry/grant.go", "secretHeld = 60 * time.Second"},
		{operations, "up to 16 MiB of them wait", "internal/telemetry/decisionlog.go", "maxWaiting = 16 << 20"},
		{operations, "waits 100 ms at most", "internal/telemetry/decisionlog.go", "maxBlock = 100 * time.Millisecond"},
		{operations, "is not written by then it writes for at most 5 more", "cmd/webhook/wire.go", "flushTimeout = 5 * time.Second"},
		{operations, "read every 30 s by every replica", "internal/server/registration.go", "readRegistration = 30 * time.Second"},
		{operations, "At most 64 MiB of requests are in flight", "internal/server/deadline.go", "maxLoad = 64 << 20"},
		{operations, "Pinning comes before it with 5 seconds", "deploy/helm/pratique/templates/webhooks.yaml", "timeoutSeconds: 5"},
		{operations, "`pinned` | `PLACE/NAME=", "pkg/admission/pin.go", `put("pinned"`},
		{operations, "`unresolved` | `PLACE/NAME=", "pkg/admission/pin.go", `put("unresolved"`},
		{operations, "at `/pin` `pinned`, `unresolved`", "internal/telemetry/telemetry.go", "admission.WebhookPin:       {pinned, unresolved, unjudged}"},
		{policies, "read by its name alone, never listed, and again every 30 seconds", "internal/compile/store.go", "rereadAfter = 30 * time.Second"},
		{policies, "it is tried again every 3 seconds", "internal/compile/store.go", "retryAfter = 3 * time.Second"},
		{policies, "RSA of 2048 to 8192 bits", "pkg/verify/key.go", "maxRSABits = 8192"},
		{policies, "1 to 256. See", "internal/compile/validate.go", "maxImages      = 256"},
		{policies, "a written tag must match one, at most 64", "internal/compile/validate.go", "maxTagGlobs    = 64"},
		{policies, "At most 512 bytes", "internal/compile/validate.go", "maxReason      = 512"},
		{operations, "| identities of one policy | 256 |", "internal/compile/validate_identity.go", "maxIdentities = 256"},
		{operations, "| trusted roots of one TrustRoot together | 512 KiB |", "internal/compile/trust.go", "maxTrustRootText = 512 << 10"},
		{operations, "at most 512 KiB of pull secrets", "internal/registry/credentials.go", "MaxDockerConfig = 64 << 10"},
		{operations, "at most 512 KiB of pull secrets", "internal/registry/elsewhere.go", "maxRemembered = 8 * MaxDockerConfig"},
		{operations, "a TUF mirror is waited for 10 s at most", "internal/compile/trust_store.go", "firstTrustTimeout = 10 * time.Second"},
		{operations, "One refresh of a TUF mirror has 2 minutes", "internal/trust/fetch.go", "refreshTimeout = 2 * time.Minute"},
		{operations, "20 seconds for each request", "internal/trust/fetch.go", "requestTimeout = 20 * time.Second"},
		{operations, "80 requests", "internal/trust/fetch.go", "maxRequests = maxRootRotations + maxDelegations + 8"},
		{operations, "16 MiB in all", "internal/trust/fetch.go", "maxRefreshBytes = 16 << 20"},
		{operations, "and follows 64 roots", "internal/trust/fetch.go", "maxRootRotations = 64"},
		{operations, "metadata have at most 2 MiB", "internal/trust/fetch.go", "maxTargets = 2 << 20"},
		{operations, "asked again every 24 h", "internal/trust/config.go", "DefaultRefresh = 24 * time.Hour"},
		{operations, "is there where a policy rests on it", "internal/compile/trust_state.go", "entries[DefaultTrustRoot] == nil && used[DefaultTrustRoot]"},
		{roots, "and waits up to 10 s for its mirrors", "internal/compile/trust_store.go", "firstTrustTimeout = 10 * time.Second"},
		{roots, "`1m` to `720h`", "internal/trust/config.go", "MinRefresh = time.Minute"},
		{roots, "`1m` to `720h`", "internal/trust/config.go", "MaxRefresh = 30 * 24 * time.Hour"},
		{roots, "at most 256 KiB", "pkg/verify/trust.go", "MaxTrustedRoot = 256 << 10"},
		{roots, "at most 500 KiB", "internal/trust/config.go", "MaxTUFRoot = 512_000"},
		{roots, "every 30 s; every 3 s while it is missing", "internal/compile/store.go", "rereadAfter = 30 * time.Second"},
		{roots, "for 24 hours after it was last read", "internal/compile/materials.go", "keptFor = 24 * time.Hour"},
		{roots, "after a failure in a minute", "internal/trust/rest.go", "firstRetry = time.Minute"},
		{roots, "there are more than 64 in the cluster", "internal/compile/trust.go", "MaxTrustRoots = 64"},
		{roots, "written once an hour at most", "internal/compile/trust_status.go", "rootStatusPause = time.Hour"},
		{roots, "likewise |", "internal/compile/trust.go", "maxThreshold = 8"},
		{policies, "(1 to 64; 256 in a policy)", "internal/compile/validate_identity.go", "maxIdentities = 256"},
		{policies, "the exact URL of who confirmed the identity, at most 512 bytes", "internal/compile/validate_identity.go", "maxIssuer     = 512"},
		{policies, "the exact name in the certificate, at most 1024 bytes", "internal/compile/validate_identity.go", "maxSubject    = 1024"},
		{policies, "each exact, at most 32", "internal/compile/validate_identity.go", "maxExtensions = 32"},
		{policies, "at most 32. **Intermediates come with the signature**", "pkg/verify/certificate.go", "MaxRoots = 32"},
		{operations, "| papers over 1 MiB of one image | 256 MiB |", "pkg/verify/large.go", "maxLargeOfOne = 256 << 20"},
		{operations, "papers over 1 MiB of one image", "pkg/verify/candidate.go", "MaxSmallPaper = 1 << 20"},
		{operations, "take at most 256 MiB of memory together", "pkg/verify/large.go", "maxLargeBytes = 256 << 20"},
		{operations, "wait to be judged take at most 128 MiB", "pkg/verify/held.go", "maxHeldBytes = 128 << 20"},
		{operations, "those of one site a quarter of that", "pkg/verify/held.go", "maxSiteShare = 4"},
		{operations, "what finds no room in 2 seconds", "pkg/verify/held.go", "heldWait = 2 * time.Second"},
		{operations, "three of the largest for all", "internal/registry/limits.go", "maxLargeBytes = 3 * maxLarge"},
		{operations, "two for those that the list doesn't name", "internal/registry/limits.go", "maxUnnamedLargeBytes = 2 * maxLarge"},
		{operations, "has to come at 512 KiB a second", "internal/registry/body.go", "minRate = 512 << 10"},
		{operations, "looked at over 2 seconds", "internal/registry/body.go", "rateWindow = 2 * time.Second"},
		{operations, "is waited for 300 ms at most", "internal/registry/unsigned.go", "unsignedGrace = 300 * time.Millisecond"},
		{operations, "and at most 64 such are named", "internal/registry/unsigned.go", "maxUnsigned = verify.MaxChildren"},
		{operations, "write a fallback tag at most 6 times", "internal/registry/push_fallback.go", "maxTagWrites = 6"},
		{operations, "at most 64 tests and 64 custom requirements", "internal/compile/validate_require.go", "maxRequirements = 64"},
		{operations, "with 128 rules of", "internal/compile/require_custom.go", "maxRules = 128"},
		{operations, "of 32 KiB in all", "internal/compile/require_custom.go", "maxRuleText = 32 << 10"},
		{operations, "A rule nests at most 50 deep", "pkg/policy/custom_rule.go", "maxExpressionDepth = 50"},
		{operations, "has at most 4,096 nodes", "pkg/policy/custom_rule.go", "maxExpressionNodes = 4096"},
		{operations, "and a pattern 512 steps", "pkg/policy/custom_rule.go", "maxPatternSteps = 512"},
		{operations, "at most 1,000,000 units", "pkg/policy/custom_rule.go", "maxEstimate = 1_000_000"},
		{operations, "(200,000 for all rules of one requirement", "pkg/policy/custom_rule.go", "maxCost = 200_000"},
		{operations, "256 globs in `deny` and in `allow`", "pkg/policy/licenses.go", "MaxLicenseRules = 256"},
		{operations, "256 exceptions in each list", "internal/compile/require_papers.go", "maxPolicyExceptions = 256"},
		{operations, "64 names and 64 patterns in each list of provenance", "internal/compile/require_provenance.go", "maxProvenanceNames = 64"},
		{operations, "at most 100,000 names", "pkg/predicate/testresult.go", "maxTests = 100_000"},
		{operations, "a provenance 1,024 sources", "pkg/predicate/provenance.go", "maxSources = 1024"},
		{operations, "a statement 1,024 subjects", "pkg/verify/statement.go", "maxSubjects = 1024"},
		{operations, "JSON nests at most 128 deep", "pkg/predicate/json.go", "maxDepth = 128"},
		{policies, "such as `trivy`, `grype`; at most 16", "internal/compile/require_papers.go", "maxScanners = 16"},
		{requirements, "is dated more than 5 minutes ahead", "pkg/policy/newest.go", "maxAhead = 5 * time.Minute"},
		{requirements, "In its last 14 days", "pkg/policy/exception.go", "exceptionEnding = 14 * 24 * time.Hour"},
		{requirements, "| `minPackages` | 1 |", "pkg/policy/sbom.go", "DefaultMinPackages = 1"},
		{requirements, "at most 4,096 bytes; 1 to 32 rules", "pkg/policy/custom_rule.go", "MaxExpression = 4096"},
		{exceptions, "In its last 14 days", "pkg/policy/exception.go", "exceptionEnding = 14 * 24 * time.Hour"},
		{exceptions, "at most 256 bytes", "internal/compile/validate_exception.go", "maxOwner = 256"},
		{exceptions, "of policies, 1 to 64", "internal/compile/validate_exception.go", "maxExceptionImages = 64"},
		{exceptions, "1 to 64, without wildcards", "internal/compile/validate_exception.go", "maxExceptionIDs = 64"},
		{"docs/commands.md", "is about, at most 64:", "pkg/promote/attest.go", "MaxSubjects = 65"},
		{"docs/verify.md", "ends after two minutes", "cmd/pratique/verify.go", "verifyTimeout = 2 * time.Minute"},
	}
}

func TestTheNumbersOnThePagesAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	oneLine := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for _, c := range said() {
		if !strings.Contains(oneLine(readFile(t, c.page)), oneLine(c.says)) {
			t.Errorf("%s no longer says %q", c.page, c.says)
		}
		if !strings.Contains(oneLine(readFile(t, c.file)), oneLine(c.source)) {
			t.Errorf("%s no longer says %q, on which %s relies: %q", c.file, c.source, c.page, c.says)
		}
	}
	held := readFile(t, "docs/operations.md")
	for says, is := range map[string]time.Duration{
		"| evidence that was found | 10 min": verify.ServeFor, "| | to 20 min:": verify.RefreshFor, "| | to 24 h while": verify.KeepFor,
		`| "nothing found" | 5 s;`: verify.NothingFor,
	} {
		amount := regexp.MustCompile(`(\d+) (s|min|h)\b`).FindStringSubmatch(says)
		want, err := time.ParseDuration(amount[1] + strings.TrimSuffix(amount[2], "in"))
		if err != nil || want != is || !strings.Contains(held, says) {
			t.Errorf("docs/operations.md: %q, the code has %s (%v)", says, is, err)
		}
	}
	if verify.DefaultCacheBytes != 256<<20 {
		t.Errorf("the default of --evidence-cache-bytes is %d", verify.DefaultCacheBytes)
	}
}
