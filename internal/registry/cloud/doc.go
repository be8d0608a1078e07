// Package cloud logs in to the registries of clouds by the identity of the node or the Pod that it runs on, so that no
// password has to be kept.
//
// A cloud tells whoever runs on one of its machines who they are: by an address that only that machine reaches, or by a
// token that it puts into a Pod. With that a registry's password is asked for, which is good for minutes or hours.
// There is one constructor for each cloud, and a Login is all that it returns:
//
//	NewECR  Amazon: access keys in the environment, a role for the ServiceAccount (IRSA), EKS Pod Identity or the
//	        instance's role, in this order; then GetAuthorizationToken in the registry's region
//	NewGAR  Google: the access token of the node, or of the ServiceAccount under Workload Identity Federation, from the
//	        metadata server
//	NewACR  Azure: Workload Identity or the node's managed identity, then the registry's own /oauth2/exchange
//
// What is given to the wrong host is lost, so the rules are these:
//
//   - A host is checked whole against the names that the cloud gives its registries (hosts.go) before anything is asked
//     of anyone: x.azurecr.io.evil.example is refused without a request.
//   - Only the identity that was meant is used: a role that the environment names and that can't be assumed is an error,
//     and not a reason to go on as the node. No configuration file of a developer is read.
//   - Every answer is bounded, no redirect is followed, and no proxy is asked but by a Client that was given. Instance
//     metadata of AWS is asked by version 2 only.
//   - No secret is in an error: of what a cloud answers only codes out of closed lists are repeated.
//   - A password that has expired isn't returned. One is held for a minute, for the registries that share it; whoever
//     wants it for longer holds it, until shortly before the time that came with it. Those who ask while it is got wait
//     for the one answer. Nothing starts a goroutine, and nothing is kept of a failure.
//
// Of the clouds' libraries only AWS's signer is used (version 4 signatures are easy to get wrong). Everything else is one
// request and a few fields of its answer, for which those libraries bring a hundred packages, their own retries and their
// own reading of the environment.
//
// # Limits
//
// The clouds themselves can't be reached where this is built: the tests run against fakes on loopback that answer as the
// clouds' documentation and libraries say. Not here: files of credentials (GOOGLE_APPLICATION_CREDENTIALS, ~/.aws), client
// secrets of Azure, Azure Arc and App Service, public.ecr.aws, AWS's dual-stack names (on.aws) and its isolated and
// European sovereign partitions. Where one of these is needed, a pull secret (auth.secretRef) does it.
package cloud
