package cloud

import (
	"regexp"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// The names that clouds give their registries, whole: as the references of images write them, in small letters and
// without a port.
var (
	// Amazon ECR: the account, the region, and .cn for the partition of China.
	ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr(-fips)?\.([a-z]{2,4}(?:-[a-z]+){1,2}-[0-9]{1,2})\.amazonaws\.com(\.cn)?$`)
	// Google Artifact Registry: a region or a multi-region, and the names of Container Registry that it took over.
	garHost = regexp.MustCompile(`^(?:[a-z]+(?:-[a-z]+[0-9]{1,2})?-docker\.pkg\.dev|(?:(?:us|eu|asia)\.)?gcr\.io)$`)
	// Azure Container Registry: letters and digits, with a label that Azure adds if it was asked to.
	acrHost = regexp.MustCompile(`^[a-z0-9]{5,50}(?:-[a-z0-9]{1,20})?\.azurecr\.(io|cn|us)$`)
	// region is the name of a region of AWS.
	region = regexp.MustCompile(`^[a-z]{2,4}(?:-[a-z]+){1,2}-[0-9]{1,2}$`)
)

// maxHost bounds a host's name, in bytes (RFC 1035, 2.3.4).
const maxHost = 253

// CheckECR says, as an *Error, why a host is no private registry of Amazon ECR; nil if it is one. Nothing is asked.
func CheckECR(host string) error {
	_, err := parseECR(host)
	return err
}

// CheckGAR says, as an *Error, why a host is no registry of Google Artifact Registry; nil if it is one. Nothing is asked.
func CheckGAR(host string) error {
	if len(host) > maxHost || !garHost.MatchString(host) {
		return notOf(host, "Google Artifact Registry", "REGION-docker.pkg.dev or gcr.io with us., eu., asia. or nothing before it")
	}
	return nil
}

// CheckACR says, as an *Error, why a host is no registry of Azure Container Registry; nil if it is one. Nothing is asked.
func CheckACR(host string) error {
	_, err := parseACR(host)
	return err
}

// ecrRegistry is what an ECR registry's name says.
type ecrRegistry struct {
	region string
	fips   bool   // FIPS 140 validated endpoints
	suffix string // of the partition
}

func parseECR(host string) (ecrRegistry, error) {
	m := ecrHost.FindStringSubmatch(host)
	if len(host) > maxHost || m == nil || strings.HasPrefix(m[2], "cn-") != (m[3] != "") {
		return ecrRegistry{}, notOf(host, "Amazon ECR", "ACCOUNT.dkr.ecr.REGION.amazonaws.com, in China .com.cn")
	}
	return ecrRegistry{region: m[2], fips: m[1] != "", suffix: suffixOf(m[2])}, nil
}

// suffixOf returns the domain of a region's services.
func suffixOf(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// acrRegistry is what an ACR registry's name says.
type acrRegistry struct {
	host  string
	cloud string // io, cn or us
}

func parseACR(host string) (acrRegistry, error) {
	m := acrHost.FindStringSubmatch(host)
	if len(host) > maxHost || m == nil {
		return acrRegistry{}, notOf(host, "Azure Container Registry", "NAME.azurecr.io, .cn or .us in small letters")
	}
	return acrRegistry{host: host, cloud: m[1]}, nil
}

// notOf refuses a host.
func notOf(host, cloud, names string) error {
	return &Error{Kind: verify.Forbidden, Host: shown(host), text: "no registry of " + cloud + " has this name, so nothing was asked: want " + names +
		", or auth.secretRef"}
}
